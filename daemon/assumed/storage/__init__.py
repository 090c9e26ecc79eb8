"""The credentials file on disk: locks, atomic replacement, batch writes."""

from assumed.storage.credentials_file import CredentialsFile
from assumed.storage.locked_file import LockedFile
from assumed.storage.locks import DaemonLock
from assumed.storage.reader import FileSignature
from assumed.storage.stored_profile import StoredProfile

__all__ = ["CredentialsFile", "DaemonLock", "FileSignature", "LockedFile", "StoredProfile"]

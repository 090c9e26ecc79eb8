#!/bin/sh
# Build every package into dist/: sdist and wheel, Debian package, OCI image, SBOM, checksums.
#
# Usage: packaging/packages.sh [all|python|deb|image]...   (default: all)
# Needs, on Debian 12 or Ubuntu 24.04:
#   apt install git python3-venv                    for `python`
#   apt install debhelper lintian man-db            for `deb`, besides
#   apt install buildah debootstrap                 for `image`, besides; as root
# Everything else comes from PyPI, pinned by hash in packaging/requirements.txt.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' daemon/assumed/__init__.py)
# The time of the commit goes into the archives, so that the same commit gives the same bytes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
wheel=assumed-$version-py3-none-any.whl
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tools=$scratch/tools/bin

step() { printf '\n== %s\n' "$*"; }
fail() { echo "error: $*" >&2; exit 1; }
quietly() { "$@" > "$scratch/log" 2>&1 || { cat "$scratch/log" >&2; fail "$*"; }; }
minor_version() { "$1" -c 'import sys; print(sys.version_info[:2])'; }

make_tools() {
    "$python" -m venv "$scratch/tools"
    quietly "$tools/pip" install --quiet build twine pypandoc_binary cyclonedx-bom
}

build_python() {
    step "sdist and wheel of assumed $version"
    rm -rf dist
    # Twice, since a package that cannot be built again cannot be verified either.
    # The wheel is built from the sdist, which shows that the sdist is complete.
    quietly "$tools/python" -m build --outdir "$scratch/again" .
    quietly "$tools/python" -m build --outdir dist .
    diff -r "$scratch/again" dist || fail "two builds differ"
    "$tools/twine" check --strict dist/*
    cp packaging/requirements.txt dist/
}

# A directory with the wheel and its dependencies, for this version of Python.
download_wheels() {
    [ -f "dist/$wheel" ] || fail "dist/$wheel is missing; run \`$0 python\` first"
    [ ! -d "$scratch/wheels" ] || return 0
    quietly "$tools/pip" download --require-hashes --only-binary :all: \
        --requirement packaging/requirements.txt --dest "$scratch/wheels"
    cp "dist/$wheel" "$scratch/wheels/"
    "$python" -m venv "$scratch/installed"
    quietly "$scratch/installed/bin/pip" install --no-index --find-links "$scratch/wheels" \
        --require-hashes --requirement packaging/requirements.txt
    quietly "$scratch/installed/bin/pip" install --no-index --no-deps "dist/$wheel"
}

build_sbom() {
    step "software bill of materials"
    download_wheels
    quietly "$scratch/installed/bin/pip" --version
    quietly "$tools/cyclonedx-py" environment --pyproject pyproject.toml --output-reproducible \
        --output-file "dist/assumed-$version.cdx.json" "$scratch/installed/bin/python"
    "$tools/python" packaging/check_sbom.py "dist/assumed-$version.cdx.json" \
        "$scratch/installed/bin/python"
}

build_deb() {
    step "Debian package"
    # The wheels are for the version of the tools, and the package uses the distribution's Python.
    [ "$(minor_version /usr/bin/python3)" = "$(minor_version "$python")" ] ||
        fail "$python and /usr/bin/python3 have different versions; set PYTHON=/usr/bin/python3"
    download_wheels
    # shellcheck source=/dev/null
    distribution=$(. /etc/os-release && echo "$ID$VERSION_ID")
    tar -xzf "dist/assumed-$version.tar.gz" -C "$scratch"
    source=$scratch/assumed-$version
    cp -r packaging/debian "$source/debian"
    cat > "$source/debian/changelog" <<END
assumed ($version+$distribution) unstable; urgency=medium

  * Release $version. /usr/share/doc/assumed/CHANGELOG.md.gz lists the changes.

 -- The assumed maintainers <assumed@example.org>  $(date -Ru -d "@$SOURCE_DATE_EPOCH")
END
    cp -r "$scratch/wheels" "$source/wheels"
    mkdir "$source/man" "$source/completion"
    quietly "$tools/pip" install --no-index --find-links "$scratch/wheels" assumed
    "$tools/python" packaging/man_pages.py "$source/man"
    for shell in bash zsh fish; do
        "$scratch/installed/bin/assumed" completion $shell > "$source/completion/$shell"
    done
    # Twice, as above, and in another directory.
    mkdir -p "$scratch/again"
    cp -r "$source" "$scratch/again/"
    for directory in "$scratch" "$scratch/again"; do
        (cd "$directory/${source##*/}" &&
            PIP=$tools/pip quietly dpkg-buildpackage --build=binary --no-sign)
    done
    for package in "$scratch"/assumed_*.deb; do
        cmp "$package" "$scratch/again/${package##*/}" || fail "two builds differ"
    done
    cp "$scratch"/assumed_*.deb dist/
    lintian --fail-on error --suppress-tags bad-distribution-in-changes-file dist/*.deb
}

build_image() {
    step "OCI image"
    packaging/image.sh "dist/assumed-$version.image.tar" dist/assumed_*.deb
}

checksums() {
    step "checksums"
    rm -f dist/SHA256SUMS
    (cd dist && sha256sum -- *) > "$scratch/SHA256SUMS"
    cp "$scratch/SHA256SUMS" dist/
    cat dist/SHA256SUMS
}

make_tools
for part in "${@:-all}"; do
    case $part in
        all) build_python && build_sbom && build_deb && build_image ;;
        python) build_python && build_sbom ;;
        deb) build_deb ;;
        image) build_image ;;
        *) fail "unknown part \"$part\"; usage: $0 [all|python|deb|image]..." ;;
    esac
done
checksums

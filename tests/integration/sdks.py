"""Programs with each AWS SDK, and both AWS CLIs, that make calls until a file appears."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

# Debian's golang-github-aws-aws-sdk-go-v2-dev.
_GO_SOURCES = Path("/usr/share/gocode")

PYTHON = """
import pathlib, sys, time
import boto3
client = boto3.client("sts")
stop = pathlib.Path(sys.argv[1])
is_last = False
while not is_last:
    is_last = stop.exists()
    arn = client.get_caller_identity()["Arn"]
    time.sleep(0.3)
print(arn)
"""

JAVASCRIPT = """
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const { existsSync } = require("node:fs");
const client = new STSClient({});
(async () => {
  let arn, isLast = false;
  while (!isLast) {
    isLast = existsSync(process.argv[2]);
    arn = (await client.send(new GetCallerIdentityCommand({}))).Arn;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  console.log(arn);
})();
"""

# Without ExpiryWindow it uses keys until they expire, and a call takes time. The version of 2023
# does not support AWS_ENDPOINT_URL, and fails if a server closes a connection too early.
GO = """
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func main() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithCredentialsCacheOptions(
		func(options *aws.CredentialsCacheOptions) { options.ExpiryWindow = time.Second }))
	if err != nil {
		panic(err)
	}
	client := sts.NewFromConfig(cfg, sts.WithEndpointResolver(
		sts.EndpointResolverFromURL(os.Getenv("AWS_ENDPOINT_URL"))))
	arn, isLast := "", false
	for !isLast {
		_, err := os.Stat(os.Args[1])
		isLast = err == nil
		out, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err == nil {
			arn = *out.Arn
		} else if !errors.Is(err, net.ErrClosed) {
			panic(err)
		}
		time.Sleep(300 * time.Millisecond)
	}
	fmt.Println(arn)
}
"""


@dataclass(frozen=True, slots=True)
class Sdk:
    """A program that makes calls until `{stop}` and the object in `{bucket}` exist.

    Args:
        command: its arguments, with placeholders for these two and `{endpoint_url}`.
        prints_arn: whether it prints the ARN of its credentials at the end.
        warnings: prefixes of lines that it may print to standard error.
    """

    command: Sequence[str]
    prints_arn: bool = True
    warnings: tuple[str, ...] = ()


def installed_sdks(directory: Path) -> dict[str, Sdk | str]:
    """Build a program for each SDK; for an SDK that is not installed, return why."""
    return {
        "boto3": _python(directory),
        "the JavaScript SDK v3": _javascript(directory / "javascript"),
        "the Go SDK v2": _go(directory / "go"),
        "the AWS CLI v1": _aws_cli(1),
        "the AWS CLI v2": _aws_cli(2),
    }


def find_aws_cli(version: int) -> Path | None:
    """Return the AWS CLI of a major version."""
    beside = Path(sys.executable).parent
    for parent in [beside, *map(Path, os.environ["PATH"].split(os.pathsep)), Path("/usr/bin")]:
        command = parent / "aws"
        if not command.exists():
            continue
        done = subprocess.run(  # noqa: S603
            [command, "--version"], capture_output=True, text=True, check=False
        )
        if done.stdout.startswith(f"aws-cli/{version}."):
            return command
    return None


def _aws_cli(version: int) -> Sdk | str:
    command = find_aws_cli(version)
    if command is None:
        return "it is not installed here"
    # It polls every five seconds, twenty times, and fails at once if access is denied.
    waits = ["s3api", "wait", "object-exists", "--bucket", "{bucket}", "--key", "object"]
    return Sdk([str(command), *waits, "--endpoint-url", "{endpoint_url}"], prints_arn=False)


def _python(directory: Path) -> Sdk:
    script = directory / "lives.py"
    script.write_text(PYTHON)
    return Sdk([sys.executable, str(script), "{stop}"])


def _javascript(directory: Path) -> Sdk | str:
    npm, node = which("npm"), which("node")
    if npm is None or node is None:
        return "there is no npm here"
    directory.mkdir()
    install = [npm, "install", "--silent", "--no-audit", "--no-fund", "@aws-sdk/client-sts@3"]
    done = subprocess.run(  # noqa: S603
        install, cwd=directory, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return f"npm could not install it: {done.stderr}"
    (directory / "lives.js").write_text(JAVASCRIPT)
    # The token is set twice, for older SDKs, and it warns about that at each refresh.
    twice = ("@aws-sdk/credential-provider-http", "awsContainerAuthorizationTokenFile will take")
    return Sdk([node, str(directory / "lives.js"), "{stop}"], warnings=twice)


def _go(directory: Path) -> Sdk | str:
    go = which("go")
    if go is None or not (_GO_SOURCES / "src/github.com/aws/aws-sdk-go-v2").is_dir():
        return "Debian's golang-go and golang-github-aws-aws-sdk-go-v2-dev are not installed"
    directory.mkdir()
    (directory / "lives.go").write_text(GO)
    done = subprocess.run(  # noqa: S603
        [go, "build", "lives.go"],
        cwd=directory,
        env={**os.environ, "GO111MODULE": "off", "GOPATH": str(_GO_SOURCES)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Sdk([str(directory / "lives"), "{stop}"]) if done.returncode == 0 else done.stderr

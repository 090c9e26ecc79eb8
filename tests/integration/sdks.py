"""Programs of each AWS SDK, and both AWS CLIs, which make calls until they are told to stop."""

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

# It keeps keys until the moment of their end where nobody says otherwise, and a call takes time.
# Its version of 2023 knows no AWS_ENDPOINT_URL, and gives up where a server closes too early.
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
    """A program that makes calls until `{stop}` and the object in `{bucket}` are there.

    Args:
        command: its words, with these two and `{endpoint_url}` to be filled in.
        prints_arn: at its end, whose credentials it has.
        grumbles: how lines of its standard error may begin.
    """

    command: Sequence[str]
    prints_arn: bool = True
    grumbles: tuple[str, ...] = ()


def installed_sdks(folder: Path) -> dict[str, Sdk | str]:
    """Make a program of each SDK in a folder; where it is not installed, say why there is none."""
    return {
        "boto3": _python(folder),
        "the JavaScript SDK v3": _javascript(folder / "javascript"),
        "the Go SDK v2": _go(folder / "go"),
        "the AWS CLI v1": _aws_cli(1),
        "the AWS CLI v2": _aws_cli(2),
    }


def find_aws_cli(version: int) -> Path | None:
    """Return the AWS CLI of a major version."""
    beside = Path(sys.executable).parent
    for place in [beside, *map(Path, os.environ["PATH"].split(os.pathsep)), Path("/usr/bin")]:
        command = place / "aws"
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
    # It looks every five seconds, twenty times, and fails at once where it is refused.
    waits = ["s3api", "wait", "object-exists", "--bucket", "{bucket}", "--key", "object"]
    return Sdk([str(command), *waits, "--endpoint-url", "{endpoint_url}"], prints_arn=False)


def _python(folder: Path) -> Sdk:
    script = folder / "lives.py"
    script.write_text(PYTHON)
    return Sdk([sys.executable, str(script), "{stop}"])


def _javascript(folder: Path) -> Sdk | str:
    npm, node = which("npm"), which("node")
    if npm is None or node is None:
        return "there is no npm here"
    folder.mkdir()
    install = [npm, "install", "--silent", "--no-audit", "--no-fund", "@aws-sdk/client-sts@3"]
    done = subprocess.run(  # noqa: S603
        install, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return f"npm could not install it: {done.stderr}"
    (folder / "lives.js").write_text(JAVASCRIPT)
    # It finds the token twice, for the sake of older SDKs, and says so at each refresh.
    twice = ("@aws-sdk/credential-provider-http", "awsContainerAuthorizationTokenFile will take")
    return Sdk([node, str(folder / "lives.js"), "{stop}"], grumbles=twice)


def _go(folder: Path) -> Sdk | str:
    go = which("go")
    if go is None or not (_GO_SOURCES / "src/github.com/aws/aws-sdk-go-v2").is_dir():
        return "Debian's golang-go and golang-github-aws-aws-sdk-go-v2-dev are not installed"
    folder.mkdir()
    (folder / "lives.go").write_text(GO)
    done = subprocess.run(  # noqa: S603
        [go, "build", "lives.go"],
        cwd=folder,
        env={**os.environ, "GO111MODULE": "off", "GOPATH": str(_GO_SOURCES)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Sdk([str(folder / "lives"), "{stop}"]) if done.returncode == 0 else done.stderr

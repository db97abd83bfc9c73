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
        "${@:3}" </dev/null >"$answer.out" 2>"$answer.err"
    local status=$?
    echo "$status" >"$answer.status"
    return "$status"
}

while read -r name check triggers; do
    # Relative %include lines are relative to the spec, as with rpmbuild.
    cd "$root/build/SPECS/$name" || continue
    spec=$root/build/SPECS/$name/$name.spec
    ask "$name" source --define 'with_check 0' -q --srpm --queryformat "$source_format" "$spec" || continue
    ask "$name" packages --define 'with_check 0' -q --builtrpms --queryformat "$packages_format" "$spec" || continue
    ask "$name" text --define 'with_check 0' --parse "$spec" || continue
    if [ "$check" = check ]; then
        ask "$name" check-source --define 'with_check 1' -q --srpm --queryformat "$source_format" "$spec" || continue
        ask "$name" check-text --define 'with_check 1' --parse "$spec" || continue
    fi
    # rpmspec tells no macro's value; a line at the end of a copy prints it.
    if [ "$triggers" = triggers ]; then
        ask "$name" triggers --define 'with_check 0' -q --srpm --queryformat '' "$query/triggers-$name.spec" || continue
    fi
done <"$query/jobs"

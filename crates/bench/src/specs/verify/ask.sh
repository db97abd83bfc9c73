# Puts every question about one spec to rpmspec, a process each: ask.sh INDEX NAME
# Reads /peer, writes /answers/INDEX.QUESTION; a question that rpmspec refuses leaves INDEX.QUESTION.failed.
set -u
index=$1 name=$2 directory=/build/SPECS/$2
mapfile -d '' -t common </peer/arguments
source_format=$(</peer/source.format)
packages_format=$(</peer/packages.format)

ask() {
    local question=$1 check=$2
    rpmspec "${common[@]}" -D "with_check $check" -D "_topdir /build" -D "_specdir $directory" -D "_sourcedir /build/SOURCES/$name" "${@:3}" "$directory/$name.spec" \
        >"/answers/$index.$question" 2>"/answers/$index.errors" </peer/numbers ||
        mv "/answers/$index.errors" "/answers/$index.$question.failed"
}

cd "$directory" || exit
for check in 0 1; do
    ask "text-$check" "$check" --parse
    ask "header-$check" "$check" -q --srpm --qf '[%{*:xml}]'
done
# Where the whole text and the whole header are the same with and without %check, so is everything else.
checks=0
cmp -s "/answers/$index.text-0" "/answers/$index.text-1" &&
    cmp -s "/answers/$index.header-0" "/answers/$index.header-1" || checks="0 1"
for check in $checks; do
    ask "source-$check" "$check" -q --srpm --qf "$source_format"
    ask "packages-$check" "$check" -q --builtrpms --qf "$packages_format"
    ask "sources-$check" "$check" --shell
done
rm -f "/answers/$index.errors"

# Packs every spec of ROOT/list with rpmbuild, once per payload given; the first payload as often as RUNS says,
# each time with the processor time of the process tree in ROOT/times, as `name user system`.
# Usage: peer.sh RUNS PAYLOAD...
runs=$1
shift
TIMEFORMAT='%U %S'
pack() {
    rpmbuild -bs --nodeps --target x86_64 -D 'dist .azl3' -D 'azl 3' -D 'with_check 0' \
        -D '_topdir /build' -D "_specdir /build/SPECS/$1" -D "_sourcedir /build/SOURCES/$1" \
        -D "_srcrpmdir /build/out/$2" -D '_srcdefattr (-,root,root)' -D '_source_filedigest_algorithm 8' \
        -D '_buildhost millwright' -D 'source_date_epoch_from_changelog 1' \
        -D 'use_source_date_epoch_as_buildtime 1' -D 'clamp_mtime_to_source_date_epoch 1' \
        -D "_source_payload $2" "/build/SPECS/$1/$1.spec" >/build/out/log 2>&1 ||
        { cat /build/out/log >&3; exit 1; }
}
exec 3>&2
while read -r name; do
    cd "/build/SPECS/$name" || exit 1
    for ((run = 0; run < runs; run++)); do
        printf '%s ' "$name" >>/build/out/times
        { time pack "$name" "$1"; } 2>>/build/out/times
    done
    for payload in "${@:2}"; do
        pack "$name" "$payload"
    done
done </build/list

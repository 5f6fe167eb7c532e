#!/bin/sh
# Prints syscalls.tsv: the numbers, names and classes of system calls.
#
#   syscalls.sh STRACE TABLES > syscalls.tsv
#
# STRACE is a checkout of https://github.com/strace/strace, TABLES one of https://github.com/hrw/syscalls-table,
# which collects the __NR_ macros of the kernel's headers. Needs cpp.
set -eu
strace=$1 tables=$2

# Where strace follows a call to others, the class of all of these is its own.
followed='socketcall TN'

# ABI, number, name, flags of each entry `[number] = { arguments, flags, SEN(decoder), "name" }`. Names with #64
# are calls of x86_64 that x32 does not have.
of_strace() {
    printf '#include "%s/syscallent.h"\n' "$1" |
        (cd "$strace/src/linux" && cpp -P -D__ARM_EABI__ -I "$1" -I . -I generic -I 64 -I 32 - 2>/dev/null) |
        tr -d '\n' | tr '[' '\n' |
        sed -nE 's/^([0-9+ ]+)\] = \{ *[^,]*, *([^,]*), *SEN\([a-z0-9_]+\), *"([a-z0-9_]+)" *\}.*/\1\t\3\t\2/p' |
        awk -F '\t' -v abi="$1" '{ split($1, sum, "+"); print abi "\t" sum[1] + sum[2] "\t" $2 "\t" $3 }'
}

# ABI, number, name. The table of x32 has bit 30 in its numbers; Arm's own calls have no number below 1023.
of_kernel() {
    awk -v abi="$1" 'NF == 2 { nr = $2 % 1073741824; if (nr < 1023) print abi "\t" nr "\t" $1 }' \
        "$tables/data/tables/syscalls-$2"
}

cat <<END
# Numbers and names: Linux $(sed -n 's/.*"\(.*\)"/\1/p' "$tables/system_calls/linux_version.py") ($(git -C "$tables" log -1 --format=%cs)), the __NR_ macros of its headers; names of calls that it no longer has: strace.
# Classes: strace $(git -C "$strace" describe --tags) ($(git -C "$strace" log -1 --format=%cs)), src/linux/*/syscallent.h. Made by syscalls.sh.
# ABI, number, name, classes.
END
for pair in x86_64:x86_64 i386:i386 x32:x32 aarch64:arm64 arm:arm; do
    { of_kernel "${pair%:*}" "${pair#*:}"; of_strace "${pair%:*}"; } |
        awk -F '\t' -v followed="$followed" '
            BEGIN {
                split("TD desc TF file TN network TP process TS signal TM memory TI ipc TCL clock TC creds PU pure " \
                      "TST stat TLST lstat TFST fstat TSTA stat-like TSF statfs TFSF fstatfs TSFA statfs-like", of, " ")
                for (at = 1; at in of; at += 2) class[of[at]] = of[at + 1]
                split(followed, pair, " ")
            }
            # The table of Arm has calls of its old ABI (OABI) as well, which no kernel of 64 bits knows. The names
            # are those of calls that Linux has removed.
            !($2 in name) && (NF == 3 || $1 != "arm" || $3 ~ /^(bdflush|_sysctl|nfsservctl|vserver|uselib)$/) { abi = $1; name[$2] = $3 }
            NF == 4 {
                if ($3 == pair[1]) $4 = $4 "|" pair[2]
                count = split($4, flags, "|"); list = ""
                for (at = 1; at <= count; at++) {
                    gsub(/ /, "", flags[at])
                    if (flags[at] in class) list = list (list == "" ? "" : ",") class[flags[at]]
                }
                classes[$2] = list
            }
            END { for (nr in name) print abi "\t" nr "\t" name[nr] "\t" (classes[nr] == "" ? "-" : classes[nr]) }
        ' | sort -t "$(printf '\t')" -k 2,2n
done

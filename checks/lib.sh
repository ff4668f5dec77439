#!/usr/bin/env bash
# Functions that the shell scripts in checks/ share: `. checks/lib.sh`, from the top folder.

# Print an error, one argument a line, and exit with 1.
die() {
    printf 'error: %s\n' "$@" >&2
    exit 1
}

# Print the commit whose clients and schema must keep working: the last release. Before the first release it is the
# commit where this branch left main; on main itself, the commit before HEAD.
baseline_commit() {
    local main
    git describe --tags --abbrev=0 --match 'v[0-9]*.[0-9]*.[0-9]*' 2>/dev/null && return
    for main in origin/main main; do
        git rev-parse --verify --quiet "$main^{commit}" >/dev/null || continue
        if git merge-base --is-ancestor HEAD "$main"; then
            # The first commit of all is compared with itself.
            git rev-parse --verify --quiet HEAD^ || git rev-parse HEAD
        else
            git merge-base HEAD "$main"
        fi
        return
    done
    die "there is neither a release nor a main to compare with: fetch them, with their history"
}

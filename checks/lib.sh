#!/usr/bin/env bash
# Functions that the shell scripts in checks/ share: `. checks/lib.sh`, from the top folder.

# Print an error, one argument a line, and exit with 1.
die() {
    printf 'error: %s\n' "$@" >&2
    exit 1
}

# Print the product's name in a pyproject.toml on standard input.
product_name() {
    sed -n 's/^name = "\(.*\)"$/\1/p' | head -1
}

# Print the commit whose clients and schema must keep working: the newest tag v1.2.3 in the history under this product's name.
# A product made from the template has the template's tags in its history, too: those are releases of another name.
# Without one, print why nothing is compared, and exit with 0.
last_release() {
    local tag name
    name=$(product_name <pyproject.toml)
    for tag in $(git tag --merged HEAD --list 'v[0-9]*.[0-9]*.[0-9]*' --sort=-version:refname); do
        if [[ $(git show "$tag:pyproject.toml" 2>/dev/null | product_name) == "$name" ]]; then
            echo "$tag"
            return
        fi
    done
    if [[ $(git rev-parse --is-shallow-repository) == true ]]; then
        echo "skipped: this clone is shallow and has no release in it (git fetch --unshallow --tags gets them)" >&2
    else
        echo "nothing to compare with: $name has no release yet (COMMIT=<commit> names another commit)" >&2
    fi
}

# Install the npm packages that checks/NAME/package-lock.json names into .local/NAME, unless they are there.
npm_install() {
    local home=.local/$1
    mkdir -p "$home"
    cmp -s "checks/$1/package-lock.json" "$home/package-lock.json" && [[ -e $home/node_modules ]] && return
    cp "checks/$1/package.json" "checks/$1/package-lock.json" "$home/"
    npm ci --prefix "$home" --no-audit --no-fund --ignore-scripts
}

#!/usr/bin/env bash
# Install the speech of the demonstration: Debian's wideband telephone prompts in five languages, and their transcripts.
# Where apt or the rights are missing, say what to do instead and fail.
set -euo pipefail

packages=()
for language in en es fr it ru; do
    packages+=("asterisk-core-sounds-$language-g722" "asterisk-core-sounds-$language")
done

missing=()
for package in "${packages[@]}"; do
    if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then
        missing+=("$package")
    fi
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

explain() {
    cat >&2 <<TEXT
The demonstration needs recordings of real speech, and $1.
Either install Debian's prompts as an administrator:
    apt-get install --no-install-recommends ${missing[*]}
or name any folder of speech, an hour or so of several voices, one folder per voice:
    .venv/bin/molex-adapt demo --speech DIR
TEXT
    exit 1
}

command -v apt-get >/dev/null || explain "this system has no apt-get to install them by"
if [ "$(id -u)" -eq 0 ]; then
    run=(env)
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    run=(sudo env)
else
    explain "installing them takes an administrator's rights"
fi

install() {
    "${run[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}
echo "Installing ${missing[*]}" >&2
install || { "${run[@]}" apt-get update -qq >&2 && install; } || explain "apt-get could not install them"

# Builds PgBouncer in the folder $1 from the Debian source package of suite $2, as any user: the
# sources and libevent come through apt (which checks their signatures) with lists of its own, and
# libevent is linked in, so that the program needs nothing that is not installed.
set -eu
cd "$1"
suite=$2

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || { echo "there is no $keyring: this is no Debian"; exit 1; }
for tool in apt-get dpkg cc make tar; do
    command -v "$tool" >/dev/null || { echo "there is no $tool"; exit 1; }
done
# Where this machine has its own packages from.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Component: main' | grep '/debian/$' | head -n 1)
[ -n "$mirror" ] || { echo "apt knows no Debian mirror"; exit 1; }
here=$(. /etc/os-release && echo "$VERSION_CODENAME")
{
    echo "deb [signed-by=$keyring] $mirror $here main"
    echo "deb-src [signed-by=$keyring] $mirror $suite main"
} >sources.list
mkdir -p state/lists/partial cache/archives/partial deps src
# Not as the sandbox's own user, who may not enter this folder.
fetch() {
    apt-get -qq -o "Dir::State=$PWD/state" -o "Dir::Cache=$PWD/cache" -o APT::Sandbox::User=root \
        -o "Dir::Etc::SourceList=$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o "Dir::State::status=/var/lib/dpkg/status" "$@"
}
fetch update
fetch download libevent-dev
fetch source --download-only pgbouncer
dpkg -x libevent-dev_*.deb deps
tar xzf pgbouncer_*.orig.tar.gz -C src --strip-components=1

archive=$(find "$PWD/deps" -name libevent.a)
config=$(find "$PWD/deps" -name event-config.h)
cd src
./configure --quiet --without-openssl --without-cares --without-pam --without-systemd \
    LIBEVENT_CFLAGS="-I../deps/usr/include -I${config%/event2/event-config.h}" \
    LIBEVENT_LIBS="$archive"
make -s -j2 pgbouncer
mv pgbouncer ../pgbouncer

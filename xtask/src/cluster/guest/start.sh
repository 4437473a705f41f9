#!/bin/sh
# The node's start: modules, disk, network, then what a node runs. What it says goes to the console.
exec >/dev/console 2>&1
set -eu

say() { echo "node: $*"; }
# Anything that goes wrong here ends the VM, and the console tells why.
trap 'say "failed with $?"' EXIT

# The names are in an order in which each finds what it needs.
while read -r module; do
    insmod "/$module" || say "no module $module"
done </etc/node/modules

mkdir -p /node
mount -t ext4 -o noatime /dev/vda /node
for folder in kubelet containerd; do
    mkdir -p /node/$folder /var/lib/$folder
    mount --bind /node/$folder /var/lib/$folder
done
mount --make-rshared /
mkdir -p /node/logs /etc/cni/net.d /run/containerd /var/log/pods /var/log/containers
cp /node/etc/cni.conflist /etc/cni/net.d/10-gatewatch.conflist
# Where the kubelet looks for profiles of type Localhost.
mkdir -p /var/lib/kubelet/seccomp/gatewatch
cp /node/etc/seccomp.json /var/lib/kubelet/seccomp/gatewatch/agent.json

# QEMU passes nothing on but what goes to the API server, so there is no default route either.
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
# Services' addresses need a route to be sent at all. kube-proxy rewrites them; what it does not goes nowhere.
ip link add services type dummy
ip link set services up
ip route add 10.96.0.0/16 dev services src 10.0.2.15
# An address outside of the cluster (TEST-NET-3 of RFC 5737) for what calls the world.
ip address add 203.0.113.80/32 dev lo
# The machine outside knows this node only, so what pods send there gets the node's address.
nft add table ip gatewatch-node
nft add chain ip gatewatch-node postrouting '{ type nat hook postrouting priority 100; }'
nft add rule ip gatewatch-node postrouting ip saddr 10.244.0.0/16 oifname eth0 masquerade
hostname "$NODE_NAME"
echo "127.0.0.1 localhost" >/etc/hosts
echo "10.0.2.15 $NODE_NAME" >>/etc/hosts
: >/etc/resolv.conf
say "network is up"

export PATH="/node/bin:$PATH"
run() {
    name=$1
    shift
    "$@" >"/node/logs/$name.log" 2>&1 &
}

# Logs under /logs, and commands to run on the node by POST to /cgi-bin/run (cgi-bin/run asks for the cluster's secret).
mkdir -p /node/www/cgi-bin
ln -sfn /node/logs /node/www/logs
cp /etc/node/run.sh /node/www/cgi-bin/run
run httpd busybox httpd -f -p 10.0.2.15:8079 -h /node/www
run egress-proxy gatewatch-egress-proxy --listen 10.0.2.15:8132 --client-ca /node/pki/ca.crt \
    --certificate /node/pki/egress-proxy.crt --key /node/pki/egress-proxy.key
run containerd containerd --config /node/etc/containerd.toml

tries=0
until ctr version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 120 ] || { say "containerd does not answer"; tail -5 /node/logs/containerd.log; exit 1; }
    sleep 0.5
done
say "containerd is up"
for image in /node/images/*.tar; do
    # The label tells the kubelet's side of containerd that it may use the image.
    ctr -n k8s.io images import --label io.cri-containerd.image=managed "$image" >>/node/logs/images.log 2>&1 ||
        { say "cannot import $image"; tail -5 /node/logs/images.log; exit 1; }
    say "imported $(basename "$image")"
done

run kube-proxy kube-proxy --config /node/etc/kube-proxy.yaml
say "starting the kubelet"
trap - EXIT
# Whatever ends, the node stays, and its log tells.
while :; do
    kubelet --config /node/etc/kubelet.yaml --kubeconfig /node/pki/kubelet.kubeconfig --root-dir /var/lib/kubelet \
        --hostname-override "$NODE_NAME" --node-ip 10.0.2.15 >>/node/logs/kubelet.log 2>&1 || :
    say "the kubelet ended: $(tail -1 /node/logs/kubelet.log)"
    sleep 1
done

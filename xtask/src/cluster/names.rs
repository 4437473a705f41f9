//! The node's name and address, by which certificates, kubelet and kubectl know it.

/// Its name in Kubernetes.
pub(super) const NAME: &str = "node-1";
/// Its address, as QEMU's user network assigns it.
pub(super) const ADDRESS: &str = "10.0.2.15";

//! Listening on a port.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// A port that this process listens on. Connections wait until a [`Server`](crate::Server) accepts them.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// The address, with the port that the system chose where 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(crate) fn into_tokio(self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.0)
    }
}

/// Why a port is not available. `option` is the command line's option that chooses another address.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error(
        "cannot listen on {address}: address already in use; stop the process that listens there, or choose another {option}"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
        /// See [`BindError`].
        option: &'static str,
    },
    /// The port needs a privilege.
    #[error(
        "cannot listen on {address}: permission denied; ports below 1024 need CAP_NET_BIND_SERVICE, or choose another {option}"
    )]
    Denied {
        /// The address.
        address: SocketAddr,
        /// See [`BindError`].
        option: &'static str,
    },
    /// This machine doesn't have the address.
    #[error(
        "cannot listen on {address}: no interface of this machine has that address; choose another {option}"
    )]
    NotLocal {
        /// The address.
        address: SocketAddr,
        /// See [`BindError`].
        option: &'static str,
    },
    /// Anything else.
    #[error("cannot listen on {address}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

/// Listens on an address. `option` is the command line's option for it, for the error message.
pub fn bind(address: SocketAddr, option: &'static str) -> Result<Listener, BindError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, option },
        io::ErrorKind::PermissionDenied => BindError::Denied { address, option },
        io::ErrorKind::AddrNotAvailable => BindError::NotLocal { address, option },
        _ => BindError::Other { address, source },
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(Listener(listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_address_and_the_fix() {
        let first = bind(([127, 0, 0, 1], 0).into(), "--listen").unwrap();
        let address = first.local_addr().unwrap();
        assert_eq!(
            bind(address, "--listen").unwrap_err().to_string(),
            format!(
                "cannot listen on {address}: address already in use; stop the process that listens there, or choose \
                 another --listen"
            )
        );
        drop(first);
        bind(address, "--listen").unwrap();
        let error = bind(([203, 0, 113, 1], 2112).into(), "--listen").unwrap_err();
        assert!(matches!(error, BindError::NotLocal { .. }), "{error}");
    }
}

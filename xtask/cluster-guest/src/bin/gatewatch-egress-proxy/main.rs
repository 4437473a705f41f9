//! The way of the API server into the test cluster's VM: an HTTP proxy that knows `CONNECT` (RFC 9110, section 9.3.6) and
//! nothing else, over TLS with client certificates.
//!
//! The API server runs outside, where the addresses of nodes, pods and services mean nothing. It is configured
//! (`EgressSelectorConfiguration`, "cluster") to ask this program for its connections to them.

mod request;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How long a client may take to say what it wants, and a destination to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Passes the API server's connections on, inside the test cluster's VM.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The authority that clients' certificates are of
    #[arg(long, value_name = "FILE")]
    client_ca: PathBuf,
    /// This server's certificate
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Its key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gatewatch-egress-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(tls(&arguments)?));
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Such as too many open files: others will be closed.
                eprintln!("gatewatch-egress-proxy: cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let Err(error) = pass(stream, acceptor).await {
                eprintln!("gatewatch-egress-proxy: a connection from {peer}: {error:#}");
            }
        });
    }
}

fn tls(arguments: &Arguments) -> Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&arguments.client_ca)? {
        roots.add(certificate?)?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let chain: Vec<_> = CertificateDer::pem_file_iter(&arguments.certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&arguments.key)?;
    Ok(ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?)
}

/// One connection, to its end.
async fn pass(stream: TcpStream, acceptor: TlsAcceptor) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut client =
        timeout(PATIENCE, acceptor.accept(stream)).await.context("the handshake took too long")??;
    let head = timeout(PATIENCE, read_head(&mut client)).await.context("the request took too long")??;
    let destination = match request::destination(&head) {
        Ok(destination) => destination,
        Err(rejection) => {
            client.write_all(format!("HTTP/1.1 {rejection}\r\n\r\n").as_bytes()).await?;
            client.shutdown().await?;
            bail!("{rejection}");
        }
    };
    let connected = timeout(PATIENCE, TcpStream::connect(destination)).await;
    let mut server = match connected.map_err(std::io::Error::from).and_then(|connected| connected) {
        Ok(server) => server,
        Err(error) => {
            client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await?;
            client.shutdown().await?;
            bail!("cannot connect to {destination}: {error}");
        }
    };
    server.set_nodelay(true)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    // One side that goes away without a farewell is the usual end of a watch or of an exec.
    let _ = copy_bidirectional(&mut client, &mut server).await;
    Ok(())
}

/// The request's head, up to and with its empty line. A client sends no more before it is answered.
async fn read_head(client: &mut TlsStream<TcpStream>) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= request::LIMIT {
            bail!("the request is longer than {} bytes", request::LIMIT);
        }
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => bail!("the connection was closed in the middle of a request"),
        }
    }
    Ok(head)
}

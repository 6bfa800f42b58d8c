//! Certificates, made for one test.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::fs;
use std::path::{Path, PathBuf};

/// Who issues certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
    /// The file with its own certificate, in PEM.
    pub file: PathBuf,
}

/// A certificate and its key, each in a file, in PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The file with the certificate.
    pub certificate: PathBuf,
    /// The file with its private key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one that nobody trusts yet, with its files in this folder. `name` is the beginning of their names.
    ///
    /// # Panics
    ///
    /// If nothing can be written there.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = parameters(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let file = write(folder, name, "ca.pem", &certificate.pem());
        Self { issuer: Issuer::new(params, key), folder: folder.to_owned(), file }
    }

    /// Issues a certificate to `name` for these hosts and addresses.
    ///
    /// # Panics
    ///
    /// If nothing can be written to its folder.
    pub fn issue(&self, name: &str, hosts: &[&str]) -> Certified {
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters(hosts, name).signed_by(&key, &self.issuer).expect("a certificate");
        Certified {
            certificate: write(&self.folder, name, "cert.pem", &certificate.pem()),
            key: write(&self.folder, name, "key.pem", &key.serialize_pem()),
        }
    }
}

fn parameters(hosts: &[&str], name: &str) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("hosts are names or addresses");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn write(folder: &Path, name: &str, kind: &str, pem: &str) -> PathBuf {
    let file = folder.join(format!("{name}-{kind}"));
    fs::write(&file, pem).expect("a folder that can be written to");
    file
}

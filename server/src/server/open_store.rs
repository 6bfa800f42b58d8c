//! The store that the settings name.

use std::{io, path::PathBuf, sync::Arc};

use super::{StartError, setting_file::read};
use crate::{
    config::{Config, StoreKind},
    store::{EmbeddedStore, EtcdIdentity, EtcdOptions, EtcdStore, EtcdTls, EtcdUser, MemoryStore, Store, StoreError},
};

pub(crate) async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    let store = &config.store;
    let opened: Result<Arc<dyn Store>, StoreError> = match store.kind {
        StoreKind::Memory => Ok(Arc::new(MemoryStore::new())),
        StoreKind::Embedded => {
            let dir = store.data_dir.clone().unwrap_or_else(|| PathBuf::from("cofferdam-data"));
            EmbeddedStore::open(dir).await.map(|store| Arc::new(store) as Arc<dyn Store>)
        }
        StoreKind::Etcd => {
            let options = EtcdOptions {
                prefix: store.etcd_prefix.clone(),
                user: etcd_user(config).await?,
                tls: etcd_tls(config).await?,
                ..EtcdOptions::new(&store.etcd_endpoints)
            };
            EtcdStore::new(options).map(|store| Arc::new(store) as Arc<dyn Store>)
        }
    };
    opened.map_err(|error| StartError::Store { kind: store.kind, error })
}

async fn etcd_user(config: &Config) -> Result<Option<EtcdUser>, StartError> {
    let (Some(name), Some(path)) = (&config.store.etcd_user, &config.store.etcd_password_file) else {
        return Ok(None);
    };
    let key = "store.etcd_password_file";
    let password = String::from_utf8(read(key, path).await?).map_err(|error| {
        let error = io::Error::new(io::ErrorKind::InvalidData, error.utf8_error());
        StartError::File { key, path: path.clone(), error }
    })?;
    Ok(Some(EtcdUser { name: name.clone(), password: password.trim_end_matches(['\r', '\n']).to_owned() }))
}

async fn etcd_tls(config: &Config) -> Result<Option<EtcdTls>, StartError> {
    let store = &config.store;
    let Some(authorities) = &store.etcd_ca_file else { return Ok(None) };
    let identity = match (&store.etcd_cert_file, &store.etcd_key_file) {
        (Some(certificate), Some(key)) => Some(EtcdIdentity {
            certificate: read("store.etcd_cert_file", certificate).await?,
            key: read("store.etcd_key_file", key).await?,
        }),
        _ => None,
    };
    Ok(Some(EtcdTls { authorities: read("store.etcd_ca_file", authorities).await?, identity }))
}

//! Signatures, as a receiver checks them.

use super::*;
use crate::webhooks::{NoSecret, Secret};

#[tokio::test]
async fn an_event_is_signed_as_standard_webhooks_has_it() {
    let mut receiver = Receiver::start(&[Reply::Status(500)]).await;
    let events = events(100);
    let secret = || Secret::read(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let signed = Webhook { secret: Some(Arc::new(secret())), ..webhook(receiver.address) };
    let (_delivery, _running) = deliver(signed, &events);
    tell(&events, "one");
    for _ in 0..2 {
        let got = receiver.next().await;
        let header = |name: &str| got.headers[name].to_str().unwrap();
        let timestamp = header("webhook-timestamp").parse().unwrap();
        assert_eq!(timestamp, EPOCH / 1000);
        assert_eq!(header("webhook-signature"), secret().sign(header("webhook-id"), timestamp, &got.text));
    }
}

/// The example of the standard's own libraries.
#[test]
fn a_signature_is_the_one_that_others_make() {
    let secret = Secret::read(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn a_secret_is_long_enough_and_never_shown() {
    assert_eq!(format!("{:?}", Secret::read(b"0123456789abcdef").unwrap()), "Secret(..)");
    for text in [&b""[..], b"short", b"whsec_c2hvcnQ=", b"whsec_not base64 at all!"] {
        assert_eq!(Secret::read(text).err(), Some(NoSecret));
    }
}

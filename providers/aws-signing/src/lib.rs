//! Signs requests to AWS, with the library that AWS's own SDK signs with.

use std::fmt;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use jiff::Timestamp;
use provider::SecretBytes;
use provider_client::confidential;
use reqwest::RequestBuilder;

/// Whose signature it is, and for what it counts.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// Id of the access key.
    pub id: &'a str,
    /// The secret access key.
    pub secret: &'a SecretBytes,
    /// The token of a session, if the key is one of a session.
    pub token: Option<&'a SecretBytes>,
    /// The region, such as `eu-west-1`.
    pub region: &'a str,
    /// What signatures call the service, such as `kms`.
    pub service: &'a str,
    /// The time of the signature. It counts for some minutes around it.
    pub now: Timestamp,
}

impl Signer<'_> {
    /// `request`, which is a POST of `body` to `address` with `headers`, with the headers that sign it. `None` if one
    /// cannot sign with these keys.
    pub fn sign(
        &self,
        request: RequestBuilder,
        address: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<RequestBuilder> {
        let body = SignableBody::Bytes(body);
        let unsigned = SignableRequest::new("POST", address, headers.iter().copied(), body).ok()?;
        let token = match self.token {
            Some(token) => Some(token.expose_str()?.to_owned()),
            None => None,
        };
        let identity = Credentials::new(self.id, self.secret.expose_str()?, token, None, "secretfs").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(self.now.into())
            .settings(SigningSettings::default())
            .build()
            .ok()?
            .into();
        let (instructions, _) = sign(unsigned, &parameters).ok()?.into_parts();
        instructions.headers().try_fold(request, |request, (name, value)| {
            Some(request.header(name, confidential(&[value.as_bytes()])?))
        })
    }
}

impl fmt::Debug for Signer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} in {})", self.service, self.region)
    }
}

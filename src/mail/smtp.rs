//! A conversation with the mail server of `mail.smtp_url`.
//!
//! Every mail has a connection of its own and a time limit for all of it. The library's own transport knows a limit for
//! the connection alone: a server that takes a connection and then says nothing would hold it, and its mail, for ever.

use std::time::Duration;

use anyhow::{Context, bail};
use lettre::Message;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use url::Url;

use super::transport::Refusal;

/// How long a server may take to say good-bye. Nobody waits for it.
const GOODBYE: Duration = Duration::from_secs(5);

/// A mail server, and how we speak to it.
pub(super) struct Relay {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
    hello: ClientId,
    limit: Duration,
}

enum Tls {
    /// In the clear.
    Never,
    /// From the first byte on (RFC 8314).
    Always(TlsParameters),
    /// By STARTTLS (RFC 3207); if the server does not offer it, not at all.
    Started(TlsParameters),
    /// By STARTTLS if the server offers it.
    IfOffered(TlsParameters),
}

impl Relay {
    /// Understands `smtp://user:password@host:587?tls=required` and `smtps://…`; connects to nothing. `limit` is the time
    /// one mail may take.
    ///
    /// # Errors
    /// The reason never repeats the URL, which holds a password.
    pub fn parse(url: &str, limit: Duration) -> anyhow::Result<Self> {
        let url = Url::parse(url).context("it is no URL")?;
        let host = url.host_str().context("it names no host")?.to_owned();
        let tls = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
        let parameters = || TlsParameters::new(host.clone()).context("its TLS cannot be set up");
        let (tls, usual_port) = match (url.scheme(), tls.as_deref()) {
            ("smtp", None) => (Tls::Never, SMTP_PORT),
            ("smtp", Some("required")) => (Tls::Started(parameters()?), SUBMISSION_PORT),
            ("smtp", Some("opportunistic")) => (Tls::IfOffered(parameters()?), SUBMISSION_PORT),
            ("smtps", _) => (Tls::Always(parameters()?), SUBMISSIONS_PORT),
            _ => bail!("its scheme or its ?tls= is unknown"),
        };
        let decoded = |text| percent_decode_str(text).decode_utf8().context("its credentials are no UTF-8");
        let credentials = match url.password() {
            Some(password) => {
                Some(Credentials::new(decoded(url.username())?.into_owned(), decoded(password)?.into_owned()))
            }
            None => None,
        };
        let hello = match url.path().trim_matches('/') {
            "" => ClientId::default(),
            name => ClientId::Domain(name.to_owned()),
        };
        Ok(Self { port: url.port().unwrap_or(usual_port), host, tls, credentials, hello, limit })
    }

    /// Hands one mail over. When the server took it but could not say so in time, it is tried again, and may arrive twice
    /// with the same `Message-ID`.
    pub async fn send(&self, message: &Message) -> Result<(), Refusal> {
        // Whatever state the conversation is in when the time is up: dropping it closes the connection.
        let mut connection = timeout(self.limit, async {
            // A server that refuses *us*, for example our password, has said nothing about the mail: an operator who
            // mends that should find it still waiting.
            let mut connection = self.connect().await.map_err(|error| refusal(&error, false))?;
            let sent = connection.send(message.envelope(), &message.formatted()).await;
            sent.map_err(|error| refusal(&error, is_about_the_mail(&error)))?;
            Ok(connection)
        })
        .await
        .unwrap_or_else(|_| Err(Refusal::for_now(format!("the mail server took longer than {:?}", self.limit))))?;
        tokio::spawn(async move { timeout(GOODBYE, connection.quit()).await.map(drop) });
        Ok(())
    }

    /// A connection that is ready for a mail: encrypted and authenticated as the URL wants it.
    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let wrapper = match &self.tls {
            Tls::Always(parameters) => Some(parameters.clone()),
            _ => None,
        };
        let address = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(self.limit), &self.hello, wrapper, None).await?;
        match &self.tls {
            Tls::Started(parameters) => connection.starttls(parameters.clone(), &self.hello).await?,
            Tls::IfOffered(parameters) if connection.can_starttls() => {
                connection.starttls(parameters.clone(), &self.hello).await?;
            }
            _ => {}
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

/// RFC 5321 section 4.2.1: a 5xx is final. RFC 4954 section 6: 530, 534, 535 and 538 ask us to authenticate, or to do it
/// otherwise.
fn is_about_the_mail(error: &Error) -> bool {
    error.is_permanent() && !error.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538))
}

/// The words of a server may repeat the recipient, so they are for the operator and not for the log.
fn refusal(error: &Error, is_final: bool) -> Refusal {
    let told = match error.status() {
        Some(code) => format!("the mail server answered {code}"),
        None if error.is_response() => "the mail server broke off or gave no SMTP answer".to_owned(),
        None => error.to_string(),
    };
    Refusal { told, reason: error.to_string(), is_final }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> anyhow::Result<Relay> {
        Relay::parse(url, Duration::from_secs(1))
    }

    #[test]
    fn the_url_says_where_how_and_as_whom() {
        let relay = parse("smtp://ada:p%40ss@mail.example:2525/accounts.example?tls=required").expect("good");
        assert_eq!((relay.host.as_str(), relay.port), ("mail.example", 2525));
        assert!(matches!(relay.tls, Tls::Started(_)));
        assert!(relay.credentials.is_some_and(|ours| ours == Credentials::new("ada".into(), "p@ss".into())));
        assert_eq!(relay.hello, ClientId::Domain("accounts.example".into()));
        for (url, port) in [("smtp://h", 25), ("smtp://h?tls=opportunistic", 587), ("smtps://h", 465)] {
            assert_eq!(parse(url).expect("good").port, port, "{url}");
        }
    }

    #[test]
    fn a_bad_url_is_refused_without_its_password() {
        for url in
            ["ada:Secret@h", "http://ada:Secret@h", "smtp://ada:Secret@h?tls=maybe", "smtp:///x", "smtp://a:%ff@h"]
        {
            let reason = format!("{:#}", parse(url).err().unwrap_or_else(|| panic!("{url} is taken")));
            assert!(!reason.contains("Secret"), "{reason}");
        }
    }
}

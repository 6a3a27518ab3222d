use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Loopback is allowed, and nobody waits for long.
fn allowed() -> Egress {
    Egress { time_max: Duration::from_millis(500), ..Egress::new(Network::loopback()) }
}

/// A server that takes one request and answers with these bytes, then perhaps with more of them for ever.
async fn server(answer: Vec<u8>, more: Vec<u8>, serving: &mut JoinSet<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/path", listener.local_addr().unwrap());
    serving.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4_096];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(&answer).await.ok();
        while !more.is_empty() && stream.write_all(&more).await.is_ok() {}
        if answer.is_empty() {
            // Silent, until the other side has enough of it.
            stream.readable().await.ok();
        }
        request.truncate(length);
        request
    });
    url
}

async fn call(egress: &Egress, url: &str) -> Result<Answer, AnswerError> {
    let call = egress.connect(Target::parse(url).unwrap()).await.unwrap();
    call.send(Request::post("/").header("x", "y").body(Bytes::from_static(b"{}")).unwrap()).await
}

#[tokio::test]
async fn an_answer_is_handed_on_as_it_came() {
    let mut serving = JoinSet::new();
    let packed = b"HTTP/1.1 202 Accepted\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08";
    let url = server(packed.to_vec(), Vec::new(), &mut serving).await;
    let answer = call(&allowed(), &url).await.unwrap();
    assert_eq!((answer.status.as_u16(), &*answer.body), (202, &b"\x1f\x8b\x08"[..]));
    let request = String::from_utf8(serving.join_next().await.unwrap().unwrap()).unwrap();
    let host = url.trim_start_matches("http://").trim_end_matches("/path");
    for expected in ["POST /path HTTP/1.1\r\n", &format!("host: {host}\r\n"), "x: y\r\n", "\r\n\r\n{}"] {
        assert!(request.contains(expected), "{request}");
    }
}

#[tokio::test]
async fn x_01_no_address_of_ours_is_called_whatever_its_name_is() {
    let mut serving = JoinSet::new();
    let url = server(Vec::new(), Vec::new(), &mut serving).await;
    let port = url.trim_end_matches("/path").rsplit(':').next().unwrap().to_owned();
    let egress = Egress::new(Vec::new());
    for host in
        ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433", "0x7f.1"]
    {
        let target = Target::parse(&format!("http://{host}:{port}/")).unwrap();
        let refused = egress.connect(target).await.unwrap_err();
        let is_refused = matches!(refused, ConnectError::Forbidden | ConnectError::Unknown);
        assert!(is_refused, "{host}: {refused}");
        assert!(!refused.to_string().contains("127"), "{refused}");
    }
    assert!(serving.try_join_next().is_none(), "nobody came");
}

#[tokio::test]
async fn x_01_a_redirect_is_an_answer_and_is_not_followed() {
    let mut serving = JoinSet::new();
    let inner = server(Vec::new(), Vec::new(), &mut serving).await;
    let redirect =
        format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {inner}\r\nContent-Length: 0\r\n\r\n");
    let url = server(redirect.into_bytes(), Vec::new(), &mut serving).await;
    assert_eq!(call(&allowed(), &url).await.unwrap().status, StatusCode::TEMPORARY_REDIRECT);
    // The one that redirects is done; nobody came to the other.
    serving.join_next().await.unwrap().unwrap();
    assert!(serving.try_join_next().is_none());
}

#[tokio::test]
async fn x_02_an_answer_without_end_is_not_read_to_its_end() {
    let endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut chunk = b"1000\r\n".to_vec();
    chunk.extend([b'x'; 0x1000]);
    chunk.extend(b"\r\n");
    for (head, more) in [(endless.to_vec(), vec![b'x'; 4_096]), (chunked.to_vec(), chunk)] {
        let mut serving = JoinSet::new();
        let url = server(head, more, &mut serving).await;
        let egress = Egress { time_max: Duration::from_secs(30), ..allowed() };
        assert!(matches!(call(&egress, &url).await, Err(AnswerError::TooLong)));
    }
}

#[tokio::test]
async fn x_02_who_is_silent_or_talks_nonsense_holds_nobody_up() {
    let slow = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec();
    let headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(1_000)).into_bytes();
    let silent = Vec::new();
    for (answer, is_late) in
        [(silent, true), (b"nonsense\r\n\r\n".to_vec(), false), (slow, false), (headers, false)]
    {
        let mut serving = JoinSet::new();
        let url = server(answer, Vec::new(), &mut serving).await;
        let refused = call(&allowed(), &url).await.unwrap_err();
        assert_eq!(matches!(refused, AnswerError::Late), is_late, "{refused}");
    }
}

#[tokio::test]
async fn a_certificate_that_the_machine_does_not_trust_is_refused() {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let certificate = own.cert.der().clone();
    let shown = vec![certificate.clone()];
    let served = builder.unwrap().with_no_client_auth().with_single_cert(shown, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(served));
    let mut trusting = RootCertStore::empty();
    trusting.add(certificate).unwrap();
    for (trusted, name, is_good) in [
        (RootCertStore::empty(), "localhost", false),
        (trusting.clone(), "localhost", true),
        (trusting, "127.0.0.1", false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = acceptor.clone();
        let mut serving: JoinSet<()> = JoinSet::new();
        serving.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            drop(stream.read(&mut [0; 1_024]).await);
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok();
        });
        let egress = Egress { time_max: Duration::from_secs(30), ..allowed() };
        egress.tls.get_or_init(|| Arc::new(config(trusted).unwrap()));
        let connected = egress.connect(Target::parse(&format!("https://{name}:{port}/")).unwrap()).await;
        match connected {
            Ok(call) => {
                let answer = call.send(Request::get("/").body(Bytes::new()).unwrap()).await.unwrap();
                assert_eq!((answer.status, is_good), (StatusCode::NO_CONTENT, true));
            }
            Err(error) => assert!(matches!(error, ConnectError::Tls(_)) && !is_good, "{name}: {error}"),
        }
    }
}

//! What must never be taken for a caller: each attack by name, with the reason that it fails for.
//!
//! All of them go through [`Authenticator::authenticate`] with three issuers: our own (HS256), one of
//! people (RS256, one tenant) and one of machines (ES256, two named tenants), whose keys have the same
//! `kid`. What is good but for the attack is accepted in the same test.

use jsonwebtoken::Algorithm as Library;

use super::*;

/// The same `kid` everywhere, so that a key is only ever found by its issuer.
const KID: &str = "k1";

type Case = (&'static str, TokenError, String);

struct World {
    now: DateTime<Utc>,
    known: Authenticator,
    people: Provider,
    machines: Provider,
    elsewhere: Provider,
    rsa: Pair,
    elliptic: Pair,
    /// Of whoever attacks: nobody trusts it.
    evil: Pair,
}

impl World {
    async fn new() -> Self {
        let named = |pair: Pair| Pair { kid: KID, ..pair };
        let (rsa, elliptic) = (named(Pair::rsa("r1")), named(Pair::elliptic("e1")));
        let evil = named(Pair::rsa("r2"));
        let people = Provider::start(&[&rsa]).await;
        let machines = Provider::start(&[&elliptic]).await;
        let elsewhere = Provider::start(&[&evil]).await;
        let of_machines = IssuerConfig {
            tenants: Tenants::Named(BTreeMap::from([
                ("acme".to_owned(), tenant(7)),
                ("globex".to_owned(), tenant(8)),
            ])),
            kinds: [ActorKind::Integration, ActorKind::Agent].into(),
            default_kind: ActorKind::Integration,
            ..issuer("machines", &machines.url, Algorithm::Es256)
        };
        let known = trusting([issuer("people", &people.url, Algorithm::Rs256), of_machines]);
        Self {
            now: Utc::now(),
            known,
            people,
            machines,
            elsewhere,
            rsa,
            elliptic,
            evil,
        }
    }

    fn claims(&self) -> Value {
        self.people.claims(self.now)
    }

    /// A good token of the people's issuer but for this in its header.
    fn header(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut header = self.rsa.header();
        change(&mut header);
        self.rsa.sign_as(&header, &self.claims())
    }

    /// The same but for this in its claims.
    fn claiming(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims();
        change(&mut claims);
        self.rsa.sign(&claims)
    }

    /// The same but for this name; `null` takes it away.
    fn with(&self, name: &str, value: Value) -> String {
        self.claiming(|claims| {
            let members = claims.as_object_mut().unwrap();
            match value {
                Value::Null => members.remove(name),
                value => members.insert(name.to_owned(), value),
            };
        })
    }

    /// Well signed, with this text for a payload.
    fn payload(&self, bytes: impl AsRef<[u8]>) -> String {
        let header = self.rsa.header().to_string();
        signed(header, bytes, &self.rsa.key, Library::RS256)
    }

    /// Well signed, with this text for a header.
    fn head(&self, bytes: impl AsRef<[u8]>) -> String {
        signed(
            bytes,
            self.claims().to_string(),
            &self.rsa.key,
            Library::RS256,
        )
    }

    /// A token of the machines' issuer, signed well but for this signature.
    fn elliptic_signature(&self, change: impl FnOnce(&mut Vec<u8>)) -> String {
        let good = self.elliptic.sign(&self.machine_claims());
        resigned(&good, change)
    }

    fn machine_claims(&self) -> Value {
        let mut claims = self.machines.claims(self.now);
        claims["tenant"] = json!("acme");
        claims
    }

    fn machine(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.machine_claims();
        change(&mut claims);
        self.elliptic.sign(&claims)
    }

    async fn refuses(&self, cases: Vec<Case>) -> usize {
        let count = cases.len();
        for (name, reason, token) in cases {
            assert_eq!(
                ask(&self.known, &token, self.now).await,
                Err(Refusal::Token(reason)),
                "{name}: {token}"
            );
        }
        count
    }

    /// What is good is accepted, before and after; and nobody was asked who must not be.
    async fn accepts(&self) {
        let people = self.rsa.sign(&self.claims());
        let actor = ask(&self.known, &people, self.now).await.unwrap();
        assert_eq!(
            (actor.id.as_str(), actor.tenant_id),
            ("people:8f2c", tenant(7))
        );
        let machine = self.machine(|claims| claims["tenant"] = json!("globex"));
        let actor = ask(&self.known, &machine, self.now).await.unwrap();
        assert_eq!(
            (actor.kind, actor.tenant_id),
            (ActorKind::Integration, tenant(8))
        );
        assert_eq!(self.elsewhere.asked(), 0, "nobody asks who a token names");
    }
}

fn resigned(token: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    change(&mut signature);
    format!("{message}.{}", part(signature))
}

#[tokio::test]
async fn an_algorithm_is_never_the_tokens_choice() {
    let w = World::new().await;
    w.accepts().await;
    let good = w.rsa.sign(&w.claims());
    let signature = good.rsplit_once('.').unwrap().1;
    let unsigned = |alg: &str, signature: &str| {
        let (header, claims) = (json!({ "alg": alg, "kid": KID }), w.claims());
        let (header, claims) = (part(header.to_string()), part(claims.to_string()));
        format!("{header}.{claims}.{signature}")
    };
    let with_key_as_secret = |secret: &[u8]| {
        let header = json!({ "alg": "HS256", "kid": KID }).to_string();
        let key = EncodingKey::from_secret(secret);
        signed(header, w.claims().to_string(), &key, Library::HS256)
    };
    let jwk = w.rsa.public();
    let modulus = jwk["n"].as_str().unwrap();
    let pem = include_bytes!("keys/rsa_1.pub.pem");
    let alg = |alg: Value| w.header(|header| header["alg"] = alg);
    let as_other = |algorithm: Library| {
        let header = json!({ "alg": algorithm, "kid": KID }).to_string();
        signed(header, w.claims().to_string(), &w.rsa.key, algorithm)
    };
    let (bad, odd) = (TokenError::Signature, TokenError::Malformed);
    let own = serde_json::to_string(&claims(w.now)).unwrap();
    let count = w
        .refuses(vec![
            ("alg none, no signature", bad, unsigned("none", "")),
            ("alg none, a signature", bad, unsigned("none", signature)),
            ("alg None", bad, unsigned("None", signature)),
            ("alg nOnE", bad, unsigned("nOnE", signature)),
            ("alg empty", bad, unsigned("", signature)),
            (
                "HS256 with the public key as PEM",
                bad,
                with_key_as_secret(pem),
            ),
            (
                "HS256 with the public key as PEM without its last line end",
                bad,
                with_key_as_secret(pem.trim_ascii_end()),
            ),
            (
                "HS256 with the modulus",
                bad,
                with_key_as_secret(&URL_SAFE_NO_PAD.decode(modulus).unwrap()),
            ),
            (
                "HS256 with the modulus as text",
                bad,
                with_key_as_secret(modulus.as_bytes()),
            ),
            (
                "HS256 with the published key as JSON",
                bad,
                with_key_as_secret(jwk.to_string().as_bytes()),
            ),
            ("HS256 with an empty secret", bad, with_key_as_secret(b"")),
            (
                "HS256 with our own secret for another issuer",
                bad,
                with_key_as_secret(SECRET.as_bytes()),
            ),
            (
                "RS256 for our own issuer",
                bad,
                signed(w.rsa.header().to_string(), &own, &w.rsa.key, Library::RS256),
            ),
            (
                "HS512 for our own issuer",
                bad,
                with_secret(&json!({ "alg": "HS512" }), &own),
            ),
            ("RS384 by the same key", bad, as_other(Library::RS384)),
            ("RS512 by the same key", bad, as_other(Library::RS512)),
            ("PS256 by the same key", bad, as_other(Library::PS256)),
            ("another case", bad, alg(json!("rs256"))),
            ("a blank after it", bad, alg(json!("RS256 "))),
            ("a line end after it", bad, alg(json!("RS256\n"))),
            ("U+0000 after it", odd, alg(json!("RS256\0"))),
            (
                "an invisible letter in it",
                bad,
                alg(json!("RS\u{200b}256")),
            ),
            ("full-width letters", bad, alg(json!("ＲＳ２５６"))),
            ("a Cyrillic letter", bad, alg(json!("RЅ256"))),
            ("alg as a list", odd, alg(json!(["RS256"]))),
            ("alg as a number", odd, alg(json!(256))),
            ("alg null", odd, alg(Value::Null)),
            ("no alg", odd, w.head(format!(r#"{{"kid":"{KID}"}}"#))),
            (
                "alg twice, the good one last",
                odd,
                w.head(format!(r#"{{"alg":"none","alg":"RS256","kid":"{KID}"}}"#)),
            ),
            (
                "alg twice, the good one first",
                odd,
                w.head(format!(r#"{{"alg":"RS256","kid":"{KID}","alg":"none"}}"#)),
            ),
            (
                "alg twice, once escaped",
                odd,
                w.head(format!(
                    r#"{{"alg":"RS256","kid":"{KID}","\u0061lg":"none"}}"#
                )),
            ),
            (
                "ES256 of the other issuer's key",
                bad,
                w.elliptic.sign(&w.claims()),
            ),
        ])
        .await;
    assert_eq!(count, 32);
    w.accepts().await;
}

#[tokio::test]
async fn a_key_is_never_the_tokens_choice() {
    let w = World::new().await;
    let evil_set = format!("{}/certs", w.elsewhere.url);
    let evil = |change: &dyn Fn(&mut Value)| {
        let mut header = w.evil.header();
        change(&mut header);
        w.evil.sign_as(&header, &w.claims())
    };
    let kid = |kid: Value| w.header(|header| header["kid"] = kid);
    let (bad, odd, unknown) = (
        TokenError::Signature,
        TokenError::Malformed,
        TokenError::Key,
    );
    let count = w
        .refuses(vec![
            ("a stranger's key under a known kid", bad, evil(&|_| {})),
            (
                "a stranger's key without a kid",
                bad,
                evil(&|h| drop(h.as_object_mut().unwrap().remove("kid"))),
            ),
            (
                "jku to a stranger's keys, known kid",
                bad,
                evil(&|h| h["jku"] = json!(evil_set)),
            ),
            (
                "jku to a stranger's keys, their kid",
                unknown,
                evil(&|h| (h["jku"], h["kid"]) = (json!(evil_set), json!("theirs"))),
            ),
            (
                "x5u to a stranger's certificate",
                bad,
                evil(&|h| h["x5u"] = json!(evil_set)),
            ),
            (
                "a stranger's certificate in x5c",
                bad,
                evil(&|h| h["x5c"] = json!([part("certificate")])),
            ),
            (
                "a stranger's key in jwk",
                bad,
                evil(&|h| h["jwk"] = w.evil.public()),
            ),
            (
                "a symmetric key in jwk",
                bad,
                with_secret(
                    &json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": part(SECRET) } }),
                    w.claims().to_string(),
                ),
            ),
            (
                "kid that climbs to a file",
                unknown,
                kid(json!("../../../../../../dev/null")),
            ),
            (
                "kid that climbs, signed with the empty file",
                bad,
                signed(
                    json!({ "alg": "HS256", "kid": "../../../../dev/null" }).to_string(),
                    w.claims().to_string(),
                    &EncodingKey::from_secret(b""),
                    Library::HS256,
                ),
            ),
            (
                "kid with SQL",
                unknown,
                kid(json!("x' UNION SELECT 'secret' --")),
            ),
            (
                "kid with a command",
                unknown,
                kid(json!("k1; cat /etc/passwd")),
            ),
            ("kid as an address", unknown, kid(json!(evil_set))),
            ("kid in capitals", unknown, kid(json!("K1"))),
            ("kid with a blank", unknown, kid(json!(" k1"))),
            ("kid with U+0000", odd, kid(json!("k1\0"))),
            ("kid empty", odd, kid(json!(""))),
            ("kid null", odd, kid(Value::Null)),
            ("kid as a number", odd, kid(json!(1))),
            ("kid as a list", odd, kid(json!(["k1"]))),
            ("kid very long", odd, kid(json!("k".repeat(257)))),
            (
                "kid twice",
                odd,
                w.head(r#"{"alg":"RS256","kid":"theirs","kid":"k1"}"#),
            ),
            (
                "the other issuer's key of the same kid",
                bad,
                w.elliptic.sign_as(&w.rsa.header(), &w.claims()),
            ),
            (
                "one issuer's token about the other",
                bad,
                w.rsa.sign_as(&w.elliptic.header(), &w.machine_claims()),
            ),
        ])
        .await;
    assert_eq!(count, 24);
    w.accepts().await;
}

#[tokio::test]
async fn a_header_that_changes_the_meaning_is_refused() {
    let w = World::new().await;
    let odd = TokenError::Malformed;
    let member = |name: &str, value: Value| w.header(|header| header[name] = value);
    let count = w
        .refuses(vec![
            ("crit with exp", odd, member("crit", json!(["exp"]))),
            ("crit empty", odd, member("crit", json!([]))),
            ("crit null", odd, member("crit", Value::Null)),
            (
                "crit with b64 (RFC 7797)",
                odd,
                w.header(|h| (h["crit"], h["b64"]) = (json!(["b64"]), json!(false))),
            ),
            ("b64 false without crit", odd, member("b64", json!(false))),
            ("compressed", odd, member("zip", json!("DEF"))),
            ("encrypted", odd, member("enc", json!("A256GCM"))),
            ("a logout token", odd, member("typ", json!("logout+jwt"))),
            ("a DPoP proof", odd, member("typ", json!("dpop+jwt"))),
            ("typ as a number", odd, member("typ", json!(1))),
            ("a header that is a list", odd, w.head(r#"["RS256"]"#)),
            ("a header that is a text", odd, w.head(r#""RS256""#)),
            ("a header that is no JSON", odd, w.head("alg: RS256")),
            ("an empty header", odd, w.head("")),
            (
                "a byte order mark before it",
                odd,
                w.head(format!("\u{feff}{}", w.rsa.header())),
            ),
            (
                "something after it",
                odd,
                w.head(format!("{}{{}}", w.rsa.header())),
            ),
            (
                "nested without end",
                odd,
                w.head(format!(r#"{{"alg":"RS256","jwk":{}"#, "[".repeat(3000))),
            ),
        ])
        .await;
    assert_eq!(count, 17);
    w.accepts().await;
}

#[tokio::test]
async fn only_the_one_form_is_a_token() {
    let w = World::new().await;
    let good = w.rsa.sign(&w.claims());
    let parts: Vec<_> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("{good}")
    };
    let (bad, odd) = (TokenError::Signature, TokenError::Malformed);
    let spare = {
        // The last sign of 342 holds four bits that mean nothing.
        let (rest, last) = signature.split_at(signature.len() - 1);
        const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let place = SIGNS.iter().position(|sign| last.as_bytes() == [*sign]);
        format!("{rest}{}", SIGNS[place.unwrap() + 1] as char)
    };
    let flattened = json!({ "protected": header, "payload": payload, "signature": signature });
    let general = json!({ "payload": payload,
        "signatures": [{ "protected": header, "signature": signature }] });
    let count = w
        .refuses(vec![
            ("nothing", odd, String::new()),
            ("dots", bad, "..".into()),
            ("garbage", odd, "a.b.c".into()),
            ("two parts", odd, format!("{header}.{payload}")),
            ("a dot after it", odd, format!("{good}.")),
            ("a dot before it", odd, format!(".{good}")),
            ("a fourth part", odd, format!("{good}.{payload}")),
            (
                "five parts, as a JWE",
                odd,
                format!("{header}.a.b.{payload}.{signature}"),
            ),
            ("JSON serialisation, flattened", odd, flattened.to_string()),
            ("JSON serialisation, general", odd, general.to_string()),
            ("no header", odd, format!(".{payload}.{signature}")),
            ("no payload", odd, format!("{header}..{signature}")),
            ("no signature", bad, format!("{header}.{payload}.")),
            ("padding after the signature", bad, format!("{good}==")),
            (
                "padding after the payload",
                odd,
                format!("{header}.{payload}=.{signature}"),
            ),
            (
                "padding after the header",
                odd,
                format!("{header}=.{payload}.{signature}"),
            ),
            (
                "a blank in it",
                odd,
                format!("{header}.{payload} .{signature}"),
            ),
            ("a blank after it", bad, format!("{good} ")),
            ("a line end after it", bad, format!("{good}\n")),
            ("U+0000 after it", bad, format!("{good}\0")),
            ("something after the signature", bad, format!("{good}AAAA")),
            (
                "the other alphabet",
                bad,
                format!("{header}.{payload}.+/{}", &signature[2..]),
            ),
            (
                "spare bits in the signature",
                bad,
                format!("{header}.{payload}.{spare}"),
            ),
            ("percent signs", odd, good.replacen('.', "%2E", 1)),
            ("a full-width dot", odd, good.replacen('.', "．", 1)),
            (
                "letters beyond ASCII",
                odd,
                format!("{header}é.{payload}.{signature}"),
            ),
            ("very long", odd, format!("{good}{}", "A".repeat(9000))),
        ])
        .await;
    assert_eq!(count, 27);
    w.accepts().await;
}

#[tokio::test]
async fn a_signature_is_over_exactly_this() {
    let w = World::new().await;
    let good = w.rsa.sign(&w.claims());
    let bad = TokenError::Signature;
    let rsa = |change: &dyn Fn(&mut Vec<u8>)| resigned(&good, change);
    let swapped = {
        let (header, rest) = good.split_once('.').unwrap();
        let signature = rest.split_once('.').unwrap().1;
        let mut claims = w.claims();
        claims["sub"] = json!("boss");
        format!("{header}.{}.{signature}", part(claims.to_string()))
    };
    // n of P-256: r and s are below it.
    let order =
        hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let der = |signature: &mut Vec<u8>| {
        let mut der = vec![0x30, 70];
        for half in signature.chunks(32) {
            der.extend([2, 33, 0]);
            der.extend(half);
        }
        *signature = der;
    };
    let count = w
        .refuses(vec![
            ("another payload", bad, swapped),
            ("RSA: zeros", bad, rsa(&|s| s.fill(0))),
            ("RSA: ones", bad, rsa(&|s| s.fill(0xff))),
            (
                "RSA: the number one",
                bad,
                rsa(&|s| {
                    s.fill(0);
                    s[255] = 1;
                }),
            ),
            ("RSA: a bit turned", bad, rsa(&|s| s[100] ^= 1)),
            ("RSA: a byte less", bad, rsa(&|s| s.truncate(255))),
            ("RSA: a zero before", bad, rsa(&|s| s.insert(0, 0))),
            ("ES256: zeros", bad, w.elliptic_signature(|s| s.fill(0))),
            (
                "ES256: r is zero",
                bad,
                w.elliptic_signature(|s| s[..32].fill(0)),
            ),
            (
                "ES256: s is zero",
                bad,
                w.elliptic_signature(|s| s[32..].fill(0)),
            ),
            (
                "ES256: r is the order",
                bad,
                w.elliptic_signature(|s| s[..32].copy_from_slice(&order)),
            ),
            (
                "ES256: s is the order",
                bad,
                w.elliptic_signature(|s| s[32..].copy_from_slice(&order)),
            ),
            (
                "ES256: r and s are one",
                bad,
                w.elliptic_signature(|s| {
                    s.fill(0);
                    (s[31], s[63]) = (1, 1);
                }),
            ),
            ("ES256: in DER", bad, w.elliptic_signature(der)),
            (
                "ES256: a byte less",
                bad,
                w.elliptic_signature(|s| s.truncate(63)),
            ),
            (
                "ES256: a byte more",
                bad,
                w.elliptic_signature(|s| s.push(0)),
            ),
            (
                "ES256: halves swapped",
                bad,
                w.elliptic_signature(|s| s.rotate_left(32)),
            ),
        ])
        .await;
    assert_eq!(count, 17);
    w.accepts().await;
}

#[tokio::test]
async fn claims_are_read_to_the_letter() {
    let w = World::new().await;
    let t = w.now.timestamp();
    let text = w.claims().to_string();
    let twice = |member: &str| w.payload(text.replacen('{', &format!("{{{member},"), 1));
    let (odd, claims, late, early) = (
        TokenError::Malformed,
        TokenError::Claims,
        TokenError::Expired,
        TokenError::NotYetValid,
    );
    let raw_exp = |exp: &str| {
        let exp_now = format!("\"exp\":{}", t + 600);
        w.payload(text.replacen(&exp_now, &format!("\"exp\":{exp}"), 1))
    };
    let count = w
        .refuses(vec![
            (
                "expired",
                late,
                w.claiming(|c| (c["iat"], c["exp"]) = (json!(t - 600), json!(t - 6))),
            ),
            (
                "ends on this very second, leeway included",
                late,
                w.claiming(|c| (c["iat"], c["exp"]) = (json!(t - 600), json!(t - 5))),
            ),
            ("no exp", claims, w.with("exp", Value::Null)),
            (
                "exp as text",
                claims,
                w.with("exp", json!((t + 600).to_string())),
            ),
            (
                "exp with a fraction",
                claims,
                w.with("exp", json!(t as f64 + 600.5)),
            ),
            ("exp as 1e300", claims, raw_exp("1e300")),
            ("exp as 1e999", odd, raw_exp("1e999")),
            (
                "exp beyond 63 bits",
                claims,
                raw_exp("18446744073709551615"),
            ),
            (
                "exp beyond 64 bits",
                claims,
                raw_exp("99999999999999999999"),
            ),
            ("exp far away", claims, w.with("exp", json!(i64::MAX))),
            ("exp negative", claims, w.with("exp", json!(-1))),
            ("exp as a list", claims, w.with("exp", json!([t + 600]))),
            ("exp true", claims, w.with("exp", json!(true))),
            ("exp null", claims, raw_exp("null")),
            ("nbf to come", early, w.with("nbf", json!(t + 60))),
            ("nbf as text", claims, w.with("nbf", json!(t.to_string()))),
            ("nbf far away", early, w.with("nbf", json!(i64::MAX))),
            ("iat to come", early, w.with("iat", json!(t + 60))),
            ("neither iat nor nbf", claims, w.with("iat", Value::Null)),
            (
                "iat at the beginning of time",
                claims,
                w.with("iat", json!(0)),
            ),
            ("exp before iat", claims, w.with("exp", json!(t - 1))),
            ("lives too long", claims, w.with("exp", json!(t + 86_401))),
            ("iss twice", odd, twice(r#""iss":"issuer""#)),
            ("exp twice", odd, twice(r#""exp":99999999999"#)),
            (
                "sub twice, once escaped",
                odd,
                twice(r#""s\u0075b":"boss""#),
            ),
            (
                "a name twice further down",
                odd,
                w.payload(text.replacen(r#"{"roles""#, r#"{"roles":["desk"],"roles""#, 1)),
            ),
            ("no sub", TokenError::Subject, w.with("sub", Value::Null)),
            ("sub empty", TokenError::Subject, w.with("sub", json!(""))),
            ("sub as a number", claims, w.with("sub", json!(1))),
            ("sub as a list", claims, w.with("sub", json!(["8f2c"]))),
            ("sub with U+0000", odd, w.with("sub", json!("8f2c\0"))),
            (
                "bound to a key (RFC 7800)",
                claims,
                w.with("cnf", json!({ "jkt": "x" })),
            ),
            ("no claims at all", claims, w.payload("{}")),
            (
                "a payload that is a list",
                odd,
                w.payload(format!("[{text}]")),
            ),
            ("a payload that is a text", odd, w.payload(r#""claims""#)),
            ("a payload that is no JSON", odd, w.payload("iss=issuer")),
            ("an empty payload", odd, w.payload("")),
            (
                "something after the payload",
                odd,
                w.payload(format!("{text}{text}")),
            ),
            (
                "no UTF-8",
                odd,
                w.payload([&b"{\"iss\":\"\xff\","[..], &text.as_bytes()[1..]].concat()),
            ),
            (
                "nested without end",
                odd,
                w.payload(format!(r#"{{"x":{}"#, "[".repeat(3000))),
            ),
        ])
        .await;
    assert_eq!(count, 40);
    w.accepts().await;
}

#[tokio::test]
async fn an_issuer_is_that_one_and_no_other() {
    let w = World::new().await;
    let url = w.people.url.clone();
    let iss = |iss: Value| w.with("iss", iss);
    let (other, claims) = (TokenError::Issuer, TokenError::Claims);
    let count = w
        .refuses(vec![
            ("a stranger", other, iss(json!(w.elsewhere.url))),
            (
                "something after it",
                other,
                iss(json!(format!("{url}.evil.test"))),
            ),
            ("a path after it", other, iss(json!(format!("{url}/evil")))),
            ("a slash after it", other, iss(json!(format!("{url}/")))),
            (
                "without its last letter",
                other,
                iss(json!(url[..url.len() - 1])),
            ),
            ("in capitals", other, iss(json!(url.to_uppercase()))),
            (
                "a user before it",
                other,
                iss(json!(url.replacen("//", "//x@", 1))),
            ),
            ("a blank after it", other, iss(json!(format!("{url} ")))),
            (
                "an invisible letter",
                other,
                iss(json!(format!("{url}\u{200b}"))),
            ),
            (
                "a line of another alphabet",
                other,
                iss(json!(url.replacen('/', "⁄", 1))),
            ),
            ("empty", other, iss(json!(""))),
            ("none", claims, iss(Value::Null)),
            ("a list", claims, iss(json!([url]))),
            ("a number", claims, iss(json!(1))),
            ("its name here", other, iss(json!("people"))),
        ])
        .await;
    assert_eq!(count, 15);
    w.accepts().await;
}

#[tokio::test]
async fn a_token_for_somebody_else_is_not_for_us() {
    let w = World::new().await;
    let aud = |aud: Value| w.with("aud", aud);
    let (other, claims) = (TokenError::Audience, TokenError::Claims);
    let count = w
        .refuses(vec![
            ("another one", other, aud(json!("https://other.test"))),
            ("our own issuer's audience", other, aud(json!("audience"))),
            (
                "something after it",
                other,
                aud(json!(format!("{API}.evil.test"))),
            ),
            (
                "without its last letter",
                other,
                aud(json!(API[..API.len() - 1])),
            ),
            ("in capitals", other, aud(json!(API.to_uppercase()))),
            (
                "two in one text",
                other,
                aud(json!(format!("{API} https://other.test"))),
            ),
            ("a list without ours", other, aud(json!(["a", "b"]))),
            ("an empty list", other, aud(json!([]))),
            ("a list within a list", claims, aud(json!([[API]]))),
            ("a list with a number", claims, aud(json!([API, 1]))),
            ("none", claims, aud(Value::Null)),
            ("an object", claims, aud(json!({ API: true }))),
            ("true", claims, aud(json!(true))),
        ])
        .await;
    assert_eq!(count, 13);
    let listed = aud(json!(["https://other.test", API]));
    assert!(ask(&w.known, &listed, w.now).await.is_ok());
    w.accepts().await;
}

#[tokio::test]
async fn nobody_speaks_for_more_than_they_were_given() {
    let w = World::new().await;
    let kind = |kind: Value| w.with("kind", kind);
    let tenant_of = |value: Value| w.machine(|claims| claims["tenant"] = value);
    let (claims, no_kind, no_tenant) = (TokenError::Claims, TokenError::Kind, TokenError::Tenant);
    let count = w
        .refuses(vec![
            (
                "a person's issuer names a workflow",
                no_kind,
                kind(json!("workflow")),
            ),
            (
                "a person's issuer names an agent",
                no_kind,
                kind(json!("agent")),
            ),
            (
                "a person's issuer names an integration",
                no_kind,
                kind(json!("integration")),
            ),
            ("a kind in capitals", no_kind, kind(json!("Person"))),
            ("a kind that there is not", no_kind, kind(json!("root"))),
            (
                "a kind as a list",
                claims,
                kind(json!(["person", "workflow"])),
            ),
            (
                "a machines' issuer names a workflow",
                no_kind,
                w.machine(|c| c["kind"] = json!("workflow")),
            ),
            (
                "a machines' issuer names a person",
                no_kind,
                w.machine(|c| c["kind"] = json!("person")),
            ),
            (
                "another tenant by its name",
                no_tenant,
                tenant_of(json!("initech")),
            ),
            (
                "another tenant by our id",
                no_tenant,
                tenant_of(json!(tenant(9))),
            ),
            (
                "its own tenant by our id",
                no_tenant,
                tenant_of(json!(tenant(7))),
            ),
            ("a tenant in capitals", no_tenant, tenant_of(json!("ACME"))),
            ("two tenants", claims, tenant_of(json!(["acme", "globex"]))),
            (
                "no tenant",
                claims,
                w.machine(|c| drop(c.as_object_mut().unwrap().remove("tenant"))),
            ),
            (
                "roles as an object",
                claims,
                w.with("realm_access", json!({ "roles": { "desk": true } })),
            ),
            (
                "roles with a number",
                claims,
                w.with("realm_access", json!({ "roles": ["desk", 1] })),
            ),
        ])
        .await;
    assert_eq!(count, 16);
    w.accepts().await;
}

#[tokio::test]
async fn an_edwards_signature_has_one_form() {
    let pair = Pair::edwards("d1");
    let provider = Provider::start(&[&pair]).await;
    let known = trusting([issuer("people", &provider.url, Algorithm::EdDsa)]);
    let now = Utc::now();
    let good = pair.sign(&provider.claims(now));
    assert!(ask(&known, &good, now).await.is_ok());
    // The order of the group, added to s: the same point, another text.
    let order =
        hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let plus_order = |signature: &mut Vec<u8>| {
        let mut carry = 0u16;
        for (byte, add) in signature[32..].iter_mut().zip(&order) {
            carry += u16::from(*byte) + u16::from(*add);
            *byte = carry as u8;
            carry >>= 8;
        }
    };
    let cases: [(&str, String); 5] = [
        ("s of another class", resigned(&good, plus_order)),
        ("zeros", resigned(&good, |s| s.fill(0))),
        (
            "the neutral point and zero",
            resigned(&good, |s| {
                s.fill(0);
                s[0] = 1;
            }),
        ),
        ("a byte less", resigned(&good, |s| s.truncate(63))),
        ("a byte more", resigned(&good, |s| s.push(0))),
    ];
    for (name, token) in cases {
        let refused = ask(&known, &token, now).await;
        assert_eq!(
            refused,
            Err(Refusal::Token(TokenError::Signature)),
            "{name}"
        );
    }
}

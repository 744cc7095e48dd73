//! Writes what the fuzzer begins with into `corpus/`: the genuine token and the examples of the API's
//! document.

use std::{fs, path::Path};

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
    };
    put(
        "token",
        "genuine",
        dispatch_api::fuzz::genuine_token().as_bytes(),
    )?;
    put("cursor", "place", b"74aa")?;
    for (n, body) in dispatch_api::fuzz::bodies().iter().enumerate() {
        put("body", &format!("example-{n}"), body)?;
    }
    Ok(())
}

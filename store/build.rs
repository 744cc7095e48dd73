//! The migrations are embedded by a macro that cargo cannot see through: name them here.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}

//! Lets librpmio find this program's `popen` and `pclose` before the C library's; see `src/shell.rs`.

fn main() {
    for symbol in ["popen", "pclose"] {
        println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={symbol}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}

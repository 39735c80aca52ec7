//! `bindgen INPUT.wasm FOLDER`: writes the module and the JavaScript that a page imports.

use std::error::Error;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(input), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bindgen INPUT.wasm FOLDER".into());
    };
    Bindgen::new().input_path(input).web(true)?.typescript(false).generate(folder)?;
    Ok(())
}

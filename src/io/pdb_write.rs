//! Legacy PDB files as AlphaFold writes them, so that its users' programs read them: one model, atoms in atom37 order, 80 columns.

use std::fmt::Write;

use crate::error::{Error, Result};
use crate::protein::letters::{ATOM37, name_of_restype};
use crate::protein::structure::Chain;

/// The text of a PDB file with these chains. Residues are numbered by their sites and named by their types (modified residues by their
/// parents, X as UNK); unobserved ones are left out. What does not fit the format's columns is refused, since it would read back as something else.
pub fn to_pdb(chains: &[&Chain]) -> Result<String> {
    let mut text = String::new();
    let mut serial = 1;
    push_line(&mut text, "MODEL     1");
    for chain in chains {
        let too_long = |what: String| Error::Data(format!("chain `{}`: {what} does not fit the PDB format; write mmCIF instead", chain.id));
        if chain.id.len() > 1 {
            return Err(too_long(format!("the chain id `{}`", chain.id)));
        }
        let mut last = None;
        for (i, restype) in chain.aatype().into_iter().enumerate() {
            let Some(number) = chain.sites[i].number else { continue };
            let name = name_of_restype(restype);
            if !(-999..=9999).contains(&number.value) {
                return Err(too_long(format!("residue number {}", number.value)));
            }
            last = Some((name, number));
            for slot in (0..37).filter(|&s| chain.mask[i][s] == 1.0) {
                let [x, y, z] = chain.positions[i][slot];
                let b = chain.b_factors[i][slot];
                if [x, y, z].iter().any(|v| !(-999.999..=9999.999).contains(v)) || !(-99.99..=999.99).contains(&b) || serial > 99_999 {
                    return Err(too_long(format!("atom {serial} at ({x}, {y}, {z}) with B-factor {b}")));
                }
                let atom = ATOM37[slot];
                let column = format!(" {atom:<3}");
                let (id, insertion) = (&chain.id, number.insertion);
                let element = &atom[..1];
                push_line(
                    &mut text,
                    &format!(
                        "ATOM  {serial:>5} {column} {name:>3} {id:>1}{:>4}{insertion}   {x:>8.3}{y:>8.3}{z:>8.3}  1.00{b:>6.2}          {element:>2}",
                        number.value
                    ),
                );
                serial += 1;
            }
        }
        if let Some((name, number)) = last {
            push_line(&mut text, &format!("TER   {serial:>5}      {name:>3} {:>1}{:>4}", chain.id, number.value));
            serial += 1;
        }
    }
    push_line(&mut text, "ENDMDL");
    push_line(&mut text, "END");
    Ok(text)
}

/// Every line is 80 columns wide.
fn push_line(text: &mut String, line: &str) {
    writeln!(text, "{line:<80}").expect("writing to a string cannot fail");
}

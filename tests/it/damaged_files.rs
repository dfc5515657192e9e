//! Damaged copies of real files: cut, with bytes changed, with NUL bytes and lines doubled. Every parser answers, none panics.

use std::path::{Path, PathBuf};

use anyfold::data::set::codec;
use anyfold::data::set::index::Entry;
use anyfold::io::{a3m, fasta, hhr, hmmsearch, mmcif, npz, pdb, stockholm, stockholm_text, text};
use proptest::prelude::*;

/// One piece of damage, at a place given as a share of the file.
#[derive(Debug, Clone)]
enum Damage {
    Cut(f64),
    Change(f64, u8),
    Nul(f64),
    Remove(f64, usize),
    Double(f64, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = 0.0..1.0f64;
    prop_oneof![
        at.clone().prop_map(Damage::Cut),
        (at.clone(), any::<u8>()).prop_map(|(p, b)| Damage::Change(p, b)),
        at.clone().prop_map(Damage::Nul),
        (at.clone(), 1..200usize).prop_map(|(p, n)| Damage::Remove(p, n)),
        (at, 1..200usize).prop_map(|(p, n)| Damage::Double(p, n)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    let place = |p: f64| ((p * bytes.len() as f64) as usize).min(bytes.len().saturating_sub(1));
    if bytes.is_empty() {
        return;
    }
    match *damage {
        Damage::Cut(p) => bytes.truncate(place(p)),
        Damage::Change(p, b) => {
            let i = place(p);
            bytes[i] = b;
        }
        Damage::Nul(p) => bytes.insert(place(p), 0),
        Damage::Remove(p, n) => {
            let i = place(p);
            bytes.drain(i..(i + n).min(bytes.len()));
        }
        Damage::Double(p, n) => {
            let i = place(p);
            let piece = bytes[i..(i + n).min(bytes.len())].to_vec();
            bytes.splice(i..i, piece);
        }
    }
}

fn asset(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

fn parse_all_alignments(bytes: &[u8]) {
    let path = Path::new("damaged");
    let _ = a3m::parse(bytes, path);
    let _ = a3m::parse_psicov(bytes, path);
    let _ = stockholm::parse(bytes, path);
    let _ = fasta::parse(bytes, path);
    let text = String::from_utf8_lossy(bytes);
    let _ = stockholm_text::to_a3m(&text, Some(5), true, path);
    let _ = stockholm_text::deduplicate(&text, path);
    let _ = stockholm_text::remove_empty_columns(&text, path);
    let _ = stockholm_text::truncate(&text, 3);
    let _ = hhr::parse(&text, path);
    let _ = hmmsearch::parse(&text, "MAAHKGAEHHHKAAEHHEQAAKHHHAAAEHHEKGEHEQAAHHADTAYAHHKHAEEHAAQAAKHDAEHHAPKPH", path);
}

fn parse_structures(bytes: &[u8]) {
    let path = Path::new("damaged");
    let _ = mmcif::parse_structure(&String::from_utf8_lossy(bytes), path);
    let _ = pdb::parse_structure(bytes, path);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn alignments_never_panic(damages in prop::collection::vec(damage(), 1..8), which in 0..3usize) {
        let names = ["mgnify_hits.sto", "short.fasta", "pdb70_hits.hhr"];
        let name = format!("goldens/data/files/{}", names[which]);
        let mut bytes = text::read(asset(&name)).unwrap();
        damages.iter().for_each(|d| apply(&mut bytes, d));
        parse_all_alignments(&bytes);
        let a3m = a3m_of_asset();
        let mut bytes = a3m;
        damages.iter().for_each(|d| apply(&mut bytes, d));
        parse_all_alignments(&bytes);
    }

    #[test]
    fn compressed_files_never_panic(damages in prop::collection::vec(damage(), 1..4)) {
        use std::io::Write;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&a3m_of_asset()).unwrap();
        let mut bytes = packed.finish().unwrap();
        damages.iter().for_each(|d| apply(&mut bytes, d));
        let _ = text::unpack(bytes, Path::new("damaged.gz"));
    }

    #[test]
    fn archives_never_panic(damages in prop::collection::vec(damage(), 1..4)) {
        use anyfold::tensor::HostTensor;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npz");
        let tensors = [("a".to_owned(), HostTensor::zeros(&[3, 4])), ("b".to_owned(), HostTensor::i32(&[], vec![7]))].into();
        npz::write(&path, &tensors, &[("s".to_owned(), vec!["text".to_owned()])].into()).unwrap();
        assert_eq!(npz::read(&path).unwrap(), tensors);
        let mut bytes = std::fs::read(&path).unwrap();
        damages.iter().for_each(|d| apply(&mut bytes, d));
        let _ = npz::parse(&bytes, &path);
    }

    #[test]
    fn entries_of_sets_never_panic(damages in prop::collection::vec(damage(), 1..4)) {
        let msa = a3m::parse(&a3m_of_asset(), Path::new("x")).unwrap();
        let (alignment, _) = anyfold::data::alignment::Alignment::stack(&msa).unwrap();
        let n = alignment.n_res;
        let example = anyfold::data::example::Example {
            aatype: vec![3; n],
            residue_index: (0..n as i32).collect(),
            alignment,
            labels: Some(anyfold::data::example::Labels { positions: vec![[[1.0; 3]; 37]; n], mask: vec![[1.0; 37]; n], ..Default::default() }),
            ..Default::default()
        };
        let mut bytes = codec::encode(&example);
        assert_eq!(codec::decode(&bytes, &Entry::default()).unwrap(), example);
        damages.iter().for_each(|d| apply(&mut bytes, d));
        let _ = codec::decode(&bytes, &Entry::default());
    }

    #[test]
    fn structures_never_panic(damages in prop::collection::vec(damage(), 1..8)) {
        let text = small_mmcif();
        let mut bytes = text.clone().into_bytes();
        damages.iter().for_each(|d| apply(&mut bytes, d));
        parse_structures(&bytes);
        let mut bytes = small_pdb().into_bytes();
        damages.iter().for_each(|d| apply(&mut bytes, d));
        parse_structures(&bytes);
    }
}

fn a3m_of_asset() -> Vec<u8> {
    let path = asset("goldens/data/files/mgnify_hits.sto");
    stockholm_text::to_a3m(&text::read_string(&path).unwrap(), None, true, &path).unwrap().into_bytes()
}

/// The smallest mmCIF with a chain, in the shape of the PDB's files.
fn small_mmcif() -> String {
    let mut text = String::from(
        "data_TEST\n#\n_entry.id TEST\n_exptl.method 'X-RAY DIFFRACTION'\n_refine.ls_d_res_high 1.5\n#\nloop_\n_entity_poly_seq.entity_id\n\
         _entity_poly_seq.num\n_entity_poly_seq.mon_id\n_entity_poly_seq.hetero\n1 1 GLY n\n1 2 MSE n\n1 3 ALA n\n#\n\
         loop_\n_struct_asym.id\n_struct_asym.entity_id\nA 1\n#\nloop_\n_atom_site.group_PDB\n_atom_site.id\n_atom_site.type_symbol\n\
         _atom_site.label_atom_id\n_atom_site.label_alt_id\n_atom_site.label_comp_id\n_atom_site.label_asym_id\n_atom_site.label_entity_id\n\
         _atom_site.label_seq_id\n_atom_site.pdbx_PDB_ins_code\n_atom_site.Cartn_x\n_atom_site.Cartn_y\n_atom_site.Cartn_z\n\
         _atom_site.occupancy\n_atom_site.B_iso_or_equiv\n_atom_site.auth_seq_id\n_atom_site.auth_asym_id\n_atom_site.pdbx_PDB_model_num\n",
    );
    for (i, (component, number)) in [("GLY", 1), ("MSE", 2), ("ALA", 3)].iter().flat_map(|r| std::iter::repeat_n(r, 4)).enumerate() {
        let atom = ["N", "CA", "C", "O"][i % 4];
        let x = i as f64 * 1.3;
        text += &format!("ATOM {} {} {atom} . {component} A 1 {number} ? {x:.3} 0.5 -1.25 1.00 20.0 {number} A 1\n", i + 1, &atom[..1]);
    }
    text + "#\n"
}

fn small_pdb() -> String {
    let mut text = String::from("HEADER    TEST                                    01-JAN-00   1ABC              \n");
    for i in 0..12 {
        let (atom, residue) = (["N", "CA", "C", "O"][i % 4], ["GLY", "VAL", "ALA"][i / 4]);
        let x = i as f64 * 1.3;
        text += &format!(
            "ATOM  {:>5}  {atom:<3} {residue} A{:>4}    {x:8.3}{:8.3}{:8.3}  1.00 20.00           {}\n",
            i + 1,
            i / 4 + 1,
            0.5,
            -1.25,
            &atom[..1]
        );
    }
    text + "TER\nEND\n"
}

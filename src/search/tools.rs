//! Command lines with AlphaFold's published options (`alphafold/data/tools`, supplement 1.2.2 and 1.2.3). Runs nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::process::Call;

/// jackhmmer of one sequence against a FASTA database: one iteration, E 1e-4, the three filters tightened so that large databases are quick.
pub fn jackhmmer(program: &Path, cores: usize, query: &Path, database: &Path, alignment: &Path) -> Call {
    let options = "-o /dev/null --noali --F1 0.0005 --F2 0.00005 --F3 0.0000005 --incE 0.0001 -E 0.0001 -N 1";
    Call::new(program).args(options.split(' ')).args(["--cpu", &cores.to_string()]).args([
        OsString::from("-A"),
        alignment.into(),
        query.into(),
        database.into(),
    ])
}

/// hhblits of one sequence against HH-suite databases: three iterations, E 1e-3, generous limits on hits.
pub fn hhblits(program: &Path, cores: usize, query: &Path, databases: &[PathBuf], alignment: &Path) -> Call {
    let options = "-o /dev/null -n 3 -e 0.001 -maxseq 1000000 -realign_max 100000 -maxfilt 100000 -min_prefilter_hits 1000";
    let call = Call::new(program).args(options.split(' ')).args(["-cpu", &cores.to_string()]);
    with_databases(call.args([OsString::from("-i"), query.into(), "-oa3m".into(), alignment.into()]), databases)
}

/// hhsearch of an alignment (A3M) against HH-suite template databases.
pub fn hhsearch(program: &Path, cores: usize, alignment: &Path, databases: &[PathBuf], report: &Path) -> Call {
    let call = Call::new(program).args(["-maxseq", "1000000", "-cpu", &cores.to_string()]);
    with_databases(call.args([OsString::from("-i"), alignment.into(), "-o".into(), report.into()]), databases)
}

fn with_databases(call: Call, databases: &[PathBuf]) -> Call {
    databases.iter().fold(call, |call, d| call.args([OsString::from("-d"), d.into()]))
}

/// hmmbuild of a Stockholm alignment whose reference annotation marks the query's columns.
pub fn hmmbuild(program: &Path, alignment: &Path, profile: &Path) -> Call {
    Call::new(program).args(["--hand", "--amino", "-o", "/dev/null"]).args([profile, alignment])
}

/// hmmsearch of a profile against sequences of the PDB, with thresholds that let nearly everything through: filters come later.
pub fn hmmsearch(program: &Path, cores: usize, profile: &Path, database: &Path, alignment: &Path) -> Call {
    let options = "-o /dev/null --noali --F1 0.1 --F2 0.1 --F3 0.1 --incE 100 -E 100 --domE 100 --incdomE 100";
    Call::new(program).args(options.split(' ')).args(["--cpu", &cores.to_string()]).args([
        OsString::from("-A"),
        alignment.into(),
        profile.into(),
        database.into(),
    ])
}

/// kalign of a few sequences, with one thread so that the result cannot depend on their order of events.
pub fn kalign(program: &Path, sequences: &Path, aligned: &Path) -> Call {
    Call::new(program).args([
        OsString::from("-i"),
        sequences.into(),
        "-o".into(),
        aligned.into(),
        "--format".into(),
        "fasta".into(),
        "-n".into(),
        "1".into(),
    ])
}

/// mmseqs: a database from FASTA.
pub fn mmseqs_createdb(program: &Path, fasta: &Path, database: &Path) -> Call {
    Call::new(program).args([OsString::from("createdb"), fasta.into(), database.into()]).args(["-v", "1"])
}

/// mmseqs: three iterations at full sensitivity as in ColabFold (`--num-iterations 3 -a -s 8 --max-seqs 10000`); the E-value 1e-3 is that of
/// AlphaFold's other profile search and our choice, as ColabFold's 0.1 relies on its own filters downstream.
pub fn mmseqs_search(program: &Path, cores: usize, query: &Path, database: &Path, result: &Path, scratch: &Path) -> Call {
    let call = Call::new(program).args([OsString::from("search"), query.into(), database.into(), result.into(), scratch.into()]);
    call.args("--num-iterations 3 -a -s 8 -e 0.001 --max-seqs 10000 -v 1 --threads".split(' ')).args([cores.to_string()])
}

/// mmseqs: the hits as A3M, thinned out as in ColabFold once there are a thousand.
pub fn mmseqs_result2msa(program: &Path, cores: usize, query: &Path, database: &Path, result: &Path, alignment: &Path) -> Call {
    let call = Call::new(program).args([OsString::from("result2msa"), query.into(), database.into(), result.into(), alignment.into()]);
    let options = "--msa-format-mode 6 --filter-msa 1 --filter-min-enable 1000 --diff 3000 --qid 0.0,0.2,0.4,0.6,0.8,1.0 --qsc 0 --max-seq-id 0.95 -v 1 --threads";
    call.args(options.split(' ')).args([cores.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(call: &Call) -> String {
        call.args.iter().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_are_those_published() {
        let (p, q, o) = (Path::new("p"), Path::new("q"), Path::new("o"));
        let call = jackhmmer(p, 4, q, Path::new("d"), o);
        let published = "-o /dev/null --noali --F1 0.0005 --F2 0.00005 --F3 0.0000005 --incE 0.0001 -E 0.0001 -N 1 --cpu 4 -A o q d";
        assert_eq!(line(&call), published);
        let both = [PathBuf::from("bfd"), PathBuf::from("uniref30")];
        assert!(line(&hhblits(p, 4, q, &both, o)).ends_with("-cpu 4 -i q -oa3m o -d bfd -d uniref30"));
        assert_eq!(line(&hhsearch(p, 8, q, &both[..1], o)), "-maxseq 1000000 -cpu 8 -i q -o o -d bfd");
    }
}

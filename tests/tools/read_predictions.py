"""Reads a target's folder with Biopython, gemmi and python-modelcif and checks that they see the same prediction: read_predictions.py FOLDER."""

import json
import sys
from pathlib import Path

import gemmi
import modelcif.reader
from Bio.PDB import MMCIFParser, PDBParser


def atoms_of_biopython(structure):
    return {(a.get_parent().id[1], a.id): (*[round(float(x), 3) for x in a.coord], round(a.bfactor, 2)) for a in structure.get_atoms()}


def atoms_of_gemmi(structure):
    return {
        (r.seqid.num, a.name): (*[round(x, 3) for x in a.pos.tolist()], round(a.b_iso, 2))
        for chain in structure[0]
        for r in chain
        for a in r
    }


def close(a, b):
    return a.keys() == b.keys() and all(abs(x - y) < 1.5e-3 for k in a for x, y in zip(a[k], b[k]))


def main(folder):
    order = json.loads((folder / "ranking_debug.json").read_text())["order"]
    sequence = json.loads((folder / "prediction.json").read_text())["target"]["sequence"]
    for rank, label in enumerate(order):
        pdb, cif = str(folder / f"ranked_{rank}.pdb"), str(folder / f"ranked_{rank}.cif")
        plddt = json.loads((folder / f"confidence_{label}.json").read_text())["confidenceScore"]
        read = {
            "Biopython PDB": atoms_of_biopython(PDBParser(QUIET=True).get_structure("x", pdb)),
            "Biopython mmCIF": atoms_of_biopython(MMCIFParser(QUIET=True).get_structure("x", cif)),
            "gemmi PDB": atoms_of_gemmi(gemmi.read_structure(pdb)),
            "gemmi mmCIF": atoms_of_gemmi(gemmi.read_structure(cif)),
        }
        first = read["Biopython PDB"]
        for name, atoms in read.items():
            assert close(first, atoms), f"rank {rank}: {name} reads other atoms"
        for number, value in enumerate(plddt, 1):
            assert abs(first[number, "CA"][3] - value) < 0.011, f"rank {rank}: B-factor of residue {number}"
        structure = gemmi.read_structure(cif)
        structure.setup_entities()
        names = structure.entities[0].full_sequence
        assert gemmi.one_letter_code(names) == sequence, f"rank {rank}: sequence"
        with open(cif) as handle:
            [system] = modelcif.reader.read(handle)
        assert [s.name for s in system.software] == ["anyfold"], f"rank {rank}: software"
        [model] = [m for group in system.model_groups for m in group]
        metrics = {type(m).__name__: m for m in model.qa_metrics}
        values = [m.value for m in model.qa_metrics if m.__class__.__mro__[1].__name__ == "Global" or not hasattr(m, "residue")]
        local = [m.value for m in model.qa_metrics if hasattr(m, "residue")]
        assert len(local) == len(plddt) and max(abs(a - b) for a, b in zip(local, plddt)) < 0.011, f"rank {rank}: local metrics {metrics.keys()}"
        assert any(abs(v - sum(plddt) / len(plddt)) < 0.02 for v in values), f"rank {rank}: global pLDDT {values}"
    print(f"{len(order)} ranks read")


main(Path(sys.argv[1]))

"""Holds every ranked_*.cif of a folder against dictionaries, with gemmi: validate_modelcif.py FOLDER DICTIONARY..."""

import sys
from pathlib import Path

from gemmi import cif

# A category that a dictionary marks as contributed is in use; atoms of components are those of the wwPDB's component dictionary.
FINE = ("category indicated as CONTRIBUTED", "_chem_comp_atom.atom_id")


def main(folder, dictionaries):
    messages = []
    ddl = cif.Ddl(logger=messages.append, use_linked_groups=True, use_mandatory=True, use_unique_keys=True)
    for dictionary in dictionaries:
        ddl.read_ddl(cif.read(dictionary))
    messages.clear()
    files = sorted(folder.glob("ranked_*.cif"))
    for file in files:
        document = cif.read(str(file))
        assert ddl.validate_cif(document), f"{file.name}: {messages}"
        wrong = [m for m in messages if not any(f in m for f in FINE)]
        assert not wrong, f"{file.name}: {wrong}"
        # The check must be able to fail: a value of no kind that the dictionary knows, and a tag that it does not have.
        block = document.sole_block()
        block.set_pair("_entity.type_of_mine", "x")
        block.find_loop("_atom_site.Cartn_x")[0] = "near"
        messages.clear()
        ddl.validate_cif(document)
        assert any("type_of_mine" in m for m in messages) and any("Cartn_x" in m for m in messages), f"nothing is checked: {messages}"
        messages.clear()
    print(f"{len(files)} files hold")


main(Path(sys.argv[1]), sys.argv[2:])

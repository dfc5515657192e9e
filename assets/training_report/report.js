// Shows one chain at a time: the experiment in grey, the prediction coloured from its first residue to its last.
const chains = JSON.parse(document.getElementById("structures").textContent);
const choice = document.getElementById("choice");
const place = document.getElementById("viewer");
let viewer = null;
try { viewer = $3Dmol.createViewer(place, { backgroundColor: getComputedStyle(document.body).backgroundColor }); } catch (e) { viewer = null; }
function show(chain) {
  viewer.removeAllModels();
  viewer.addModel(chain.reference, "pdb").setStyle({}, { cartoon: { color: "#9aa4ae" } });
  viewer.addModel(chain.predicted, "pdb").setStyle({}, { cartoon: { color: "spectrum" } });
  viewer.zoomTo();
  viewer.render();
  document.getElementById("caption").textContent = chain.caption;
}
chains.forEach((chain, i) => choice.add(new Option(chain.id, i)));
if (viewer) {
  choice.onchange = () => show(chains[choice.value]);
  show(chains[0]);
  document.body.dataset.viewer = "ready";
} else {
  place.textContent = "This browser has no WebGL, which the view of the structures needs.";
}

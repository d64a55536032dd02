module.exports = (req, res) => {
  res.json({ hello: req.params.name || "world" });
};

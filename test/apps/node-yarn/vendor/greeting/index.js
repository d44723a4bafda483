module.exports = (who) => `Hello, ${who}, from a dependency`;

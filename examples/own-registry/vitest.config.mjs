export default { test: { include: ['*.test.mjs'], testTimeout: 30_000 } };

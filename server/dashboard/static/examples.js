// Questions to begin with, as [title, question].

// Of the demo model, which knows nothing but such stories: its router chooses low, medium and high
// for the first three, and abstains from the last one.
export const DEMO = [
  ["Two steps", "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?"],
  ["Six steps", "Kim has 73 stamps. Kim loses 18 stamps. Then Kim wins 24 stamps. Kim gives away 24 stamps. Then Kim wins 76 stamps. Kim loses 84 stamps. Then 33 stamps break. How many stamps does Kim have now?"],
  ["Ten steps", "Kim starts with 58 books. Kim buys 3 more books. Then the number of books triples. Kim buys 56 more books. Kim sells 68 of the books. Then Kim wins 70 books. Kim buys 133 more books. Kim gives away 147 books. 76 more books arrive for Kim. Then 139 books break. Then Kim wins 42 books. What is the number of books now?"],
  ["Not a story", "What is the capital of France?"],
];

export const GENERAL = [
  ["A fact", "What is the capital of France?"],
  ["A sum", "What is 17 * 24 + 9?"],
  ["A riddle", "A bat and a ball cost 1.10 together. The bat costs 1 more than the ball. What does the ball cost?"],
  ["A proof", "Prove that there are infinitely many primes that leave the remainder 3 when divided by 4."],
];

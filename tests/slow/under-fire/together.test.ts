import { testTogether } from '../../support/together/suite.js';

testTogether(5);

// A server of the package graphql-ws on `ws`, until its input ends. Its schema has a query, and a
// subscription that counts to three.

import { GraphQLError, GraphQLInt, GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';

async function* threeNumbers() {
  for (let number = 1; number <= 3; number++) yield { number };
}

const query = new GraphQLObjectType({
  name: 'Query',
  fields: {
    hello: { type: GraphQLString, resolve: () => 'world' },
    broken: {
      type: GraphQLString,
      resolve: () => {
        throw new GraphQLError('broken on purpose');
      },
    },
  },
});
const subscription = new GraphQLObjectType({
  name: 'Subscription',
  fields: { number: { type: GraphQLInt, subscribe: threeNumbers } },
});

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/graphql' });
useServer({ schema: new GraphQLSchema({ query, subscription }) }, server);
server.on('listening', () => console.log(`port ${server.address().port}`));
process.stdin.on('end', () => process.exit(0)).resume();

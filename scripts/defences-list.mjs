// What an attacker may try, what stops it, and the test that proves it. scripts/defences.mjs takes each defence away and sees
// its test fail; docs/security.md has the table.

/**
 * @typedef {object} Defence
 * @property {string} threat
 * @property {string} stoppedBy
 * @property {string} test below tests/, of the unit project
 * @property {string} named part of the full name of the proving test, describe titles included, that no other test has
 * @property {{ file: string, from: string, to: string }} without how the defence is taken away; `from` stands once in the file
 */

/** @type {readonly Defence[]} */
export const defences = [
  // Pairing: somebody in between
  {
    threat: 'Man in the middle at pairing: passes every message on, under a TLS key of his own',
    stoppedBy: 'each side puts the TLS key that it saw into what both hash',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named: 'who passes every message on, under a TLS key of his own, is found out before there is a code',
    without: {
      file: 'src/domain/pairing/transcript.ts',
      from: '      sha256(transcript.tlsSpki),\n',
      to: '',
    },
  },
  {
    threat:
      'Man in the middle at pairing: has the TLS key of the pairing port, and shows a dispatcher of his own',
    stoppedBy: 'both sets of certificates are hashed, too',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named: 'who has the TLS key, and adds a dispatcher of his own to those of the dispatcher, is found out',
    without: {
      file: 'src/domain/pairing/transcript.ts',
      from: `      sha256(lengthPrefixed(...transcript.caDer)),
      sha256(lengthPrefixed(...transcript.dispatcherDer)),
`,
      to: '',
    },
  },
  {
    threat: 'Man in the middle at pairing: another one from the second message on',
    stoppedBy: 'every connection of a session must show the same key',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named: 'whose TLS key is another one from the nonces on does not get to read them',
    without: {
      file: 'src/sdk/agent/pairing/connection.ts',
      from: 'if (seen && !crypto.equal(seen.spki, leaf.spki))',
      to: 'if (false)',
    },
  },
  {
    threat: 'Man in the middle at pairing: has the agent confirm to him, and uses that at the dispatcher',
    stoppedBy: 'what the agent signs holds for the session that it saw',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named:
      'gets no certificate for the agent with what the agent confirmed to him, although both sides said yes',
    without: {
      file: 'src/sdk/dispatcher/pairing/session.ts',
      from: 'crypto.verify(csr.spki, data, signature)',
      to: 'true',
    },
  },
  {
    threat: 'Man in the middle at pairing: a dispatcher towards the agent, an agent towards the dispatcher',
    stoppedBy: 'the codes differ, and one that differs refuses the request',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named: 'who completes the ceremony with each side makes the codes differ',
    without: {
      file: 'src/sdk/dispatcher/pairing/decisions.ts',
      from: 'if (code === undefined || code === request.code) return okAsync(request);',
      to: 'if (request) return okAsync(request);',
    },
  },
  {
    threat: 'Man in the middle at pairing, where the CA is known by its fingerprint (`--ca-sha256`)',
    stoppedBy: 'the pairing port must have a TLS certificate of that CA',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named:
      'who shows the certificates of the dispatcher is none to an agent that knows the fingerprint of the CA',
    without: {
      file: 'src/sdk/agent/pairing/judgement.ts',
      from: 'if (!crypto.issuedBy(leaf, ca)) return',
      to: 'if (false) return',
    },
  },
  {
    threat: 'A dispatcher of another CA answers an agent that knows the fingerprint',
    stoppedBy: 'the fingerprint is compared before anything is confirmed',
    test: 'unit/sdk/pairing/pairing.test.ts',
    named: 'pairing accepts the CA fingerprint in place of a person, and refuses another one',
    without: {
      file: 'src/sdk/agent/pairing/judgement.ts',
      from: 'cas.find(({ der }) => crypto.equal(crypto.sha256(der), expected))',
      to: 'cas[0]',
    },
  },
  {
    threat: 'An operator approves a request that is not the one of the person at the agent',
    stoppedBy: 'the agent installs nothing before its own person has said yes',
    test: 'unit/sdk/pairing/pairing.test.ts',
    named: 'pairing installs nothing when the person at the agent says no, although the operator approved',
    without: {
      file: 'src/sdk/agent/pairing/pair.ts',
      from: '!(await trust.confirm(shown))',
      to: '!(await trust.confirm(shown)) && false',
    },
  },

  // Pairing: guessing
  {
    threat: 'Code grinding towards the agent: chooses his nonce when he has seen the one of the agent',
    stoppedBy: 'the dispatcher commits to its nonce first, and the agent checks that',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named:
      'towards the agent: who chooses his nonce when he has seen its own is found out before there is a code',
    without: {
      file: 'src/sdk/agent/pairing/pair.ts',
      from: '!crypto.equal(commitment(crypto.sha256, th, dispatcherNonce), commit)',
      to: 'false',
    },
  },
  {
    threat: 'Code grinding towards the dispatcher: tries one nonce after the other',
    stoppedBy: 'a session answers one nonce; a second one ends it',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named: 'towards the dispatcher: a second nonce is not answered, and ends the session',
    without: {
      file: 'src/sdk/dispatcher/pairing/session.ts',
      from: '    if (agentNonce)\n      return crypto.equal',
      to: '    if (agentNonce && state === "started")\n      return crypto.equal',
    },
  },
  {
    threat: 'Code guessing: one request after the other, until a code fits',
    stoppedBy: 'three wrong codes end pairing mode',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named: 'by trying: three wrong codes end pairing mode',
    without: {
      file: 'src/sdk/dispatcher/pairing/watcher.ts',
      from: 'if (wrong.length < maxWrongCodes) return',
      to: 'if (wrong) return',
    },
  },
  {
    threat: 'Guessing the secret of a join token',
    stoppedBy:
      'a proof is asked for before the dispatcher reveals anything, and one wrong one ends the session',
    test: 'unit/sdk/pairing/join-tokens.test.ts',
    named:
      'a host with a join token without its secret is refused, and neither the nonce nor the proof is revealed',
    without: {
      file: 'src/sdk/dispatcher/pairing/session.ts',
      from: 'if (!mac || !crypto.equal(mac, expected))',
      to: 'if (false)',
    },
  },
  {
    threat: 'A dispatcher that never issued the join token answers',
    stoppedBy: 'it has to prove the token, too',
    test: 'unit/sdk/pairing/join-tokens.test.ts',
    named: 'does not confirm to a dispatcher whose proof is another one',
    without: {
      file: 'src/sdk/agent/pairing/pair.ts',
      from: 'mac !== undefined && crypto.equal(mac, crypto.hmacSha256(key, message))',
      to: 'mac !== undefined',
    },
  },
  {
    threat: 'A join token that leaked is used for another key',
    stoppedBy: 'it is bound to the first CSR that proves it',
    test: 'unit/sdk/pairing/join-tokens.test.ts',
    named: 'a join token that is bound is refused for another key, and that is an alarm',
    without: {
      file: 'src/sdk/dispatcher/pairing/session.ts',
      from: 'if (bound) return',
      to: 'if (true) return',
    },
  },
  {
    threat: 'A join token for one host is used by another',
    stoppedBy: 'it is for one name',
    test: 'unit/sdk/pairing/join-tokens.test.ts',
    named: 'a host with a join token of another host is refused at the beginning',
    without: {
      file: 'src/sdk/dispatcher/pairing/join-tokens.ts',
      from: 'whyNotUsable(token, name, clock.now())',
      to: 'whyNotUsable(token, token?.name ?? name, clock.now())',
    },
  },

  // Pairing: downgrade
  {
    threat: 'Downgrade at pairing: answers in version 1',
    stoppedBy:
      'messages of another version are not understood; the agent falls back to none unless it is told to (`--allow-v1`)',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named: 'messages of another version are not understood, whatever else they say',
    without: {
      file: 'src/domain/pairing/messages.ts',
      from: 'const version: Field<2> = oneOf(2);',
      to: "const version: Field<2> = { form: '2', read: () => 2 };",
    },
  },
  {
    threat: 'Downgrade at pairing: has the agent offer a version that it did not',
    stoppedBy: 'the offer is hashed',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named: 'who has the TLS key, and has the agent offer another version than it does, is found out',
    without: {
      file: 'src/domain/pairing/transcript.ts',
      from: "      transcript.offer.join(','),\n",
      to: '',
    },
  },
  {
    threat: 'Downgrade at pairing: has a dispatcher that knows version 2 seem not to, in the midst of it',
    stoppedBy: 'version 1 is tried after the answer to M1 only, and not where one before it was of version 2',
    test: 'unit/sdk/pairing/version1-agent.test.ts',
    named: 'after a 404 of a dispatcher that has shown before that it knows version 2',
    without: {
      file: 'src/sdk/agent/pairing/connection.ts',
      from: 'if (version !== 2) version =',
      to: 'version =',
    },
  },
  {
    threat: 'Downgrade at pairing: version 1 where people compare codes',
    stoppedBy: '`--allow-v1` needs the fingerprint of the CA, or the word that nobody can be between',
    test: 'unit/sdk/pairing/version1-agent.test.ts',
    named: 'where people compare codes',
    without: {
      file: 'src/sdk/agent/pairing/options.ts',
      from: "!allowV1 || trust.kind === 'ca-sha256'",
      to: "true || trust.kind === 'ca-sha256'",
    },
  },
  {
    threat: 'Downgrade at pairing: a name that has paired by version 2 asks by version 1',
    stoppedBy: 'such an approval is refused',
    test: 'unit/sdk/pairing/version1-dispatcher.test.ts',
    named: 'take the place of a name that is paired by version 2',
    without: {
      file: 'src/sdk/dispatcher/pairing/decisions.ts',
      from: "record?.pairing === 'v2' && version === 'v1'",
      to: 'false',
    },
  },
  {
    threat: 'Pairing by version 1 where nobody switched it on',
    stoppedBy: 'its route is unknown then',
    test: 'unit/sdk/pairing/version1-dispatcher.test.ts',
    named: 'is unknown to a dispatcher that does not serve it, as any other route',
    without: {
      file: 'src/sdk/dispatcher/pairing/pairing-mode.ts',
      from: 'if (allowV1 && request.method',
      to: 'if (request.method',
    },
  },
  {
    threat: 'Pairing by version 1: an approval that was made for another request',
    stoppedBy: 'it must have the nonce of the request',
    test: 'unit/sdk/pairing/version1-agent.test.ts',
    named: 'with another nonce, ""',
    without: {
      file: 'src/sdk/agent/pairing/legacy-judgement.ts',
      from: 'if (!crypto.equal(utf8(approval.nonce), utf8(nonce)))',
      to: 'if (false)',
    },
  },
  {
    threat: 'Pairing by version 1: shows the CA of the true dispatcher without a certificate of it',
    stoppedBy: 'with `--ca-sha256` the certificate of TLS must be of that CA',
    test: 'unit/sdk/pairing/version1-agent.test.ts',
    named: 'from who does not hold a certificate of the CA with this fingerprint',
    without: {
      file: 'src/sdk/agent/pairing/judgement.ts',
      from: 'if (!crypto.issuedBy(leaf, ca))',
      to: 'if (false)',
    },
  },
  {
    threat: 'Pairing by version 1: an agent poses as the dispatcher',
    stoppedBy: 'a certificate that names somebody must name the dispatcher (those of legacy CAs name nobody)',
    test: 'unit/sdk/pairing/version1-agent.test.ts',
    named: 'from who holds the certificate of an agent',
    without: {
      file: 'src/sdk/agent/pairing/legacy-judgement.ts',
      from: 'return uris.length === 0 || ',
      to: 'return uris.length >= 0 || ',
    },
  },
  {
    threat: 'Pairing by version 1: requests that wait fill the queue',
    stoppedBy: 'they have the places of version 2, two for an address, until their agent is gone',
    test: 'unit/sdk/pairing/version1-dispatcher.test.ts',
    named: 'fill the queue',
    without: {
      file: 'src/sdk/dispatcher/pairing/pairing-mode.ts',
      from: 'inOrder(() => admit(address).andThen(vigil.noAttack).andThen(work))',
      to: 'inOrder(() => vigil.noAttack().andThen(work))',
    },
  },
  {
    threat: 'Downgrade at pairing: an older TLS towards the dispatcher',
    stoppedBy: 'the pairing port speaks TLS 1.3 only',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named: 'the pairing port speaks with nobody over TLS 1.2',
    without: {
      file: 'src/sdk/dispatcher/pairing/pairing-mode.ts',
      from: "request.peer.tlsVersion !== 'TLSv1.3'",
      to: 'false',
    },
  },
  {
    threat: 'Downgrade at pairing: an older TLS towards the agent',
    stoppedBy: 'the agent pairs over TLS 1.3 only',
    test: 'unit/adapters/undici/connections.test.ts',
    named: 'says that the agent speaks TLS 1.2 where 1.3 is wanted',
    without: {
      file: 'src/adapters/undici/connect.ts',
      from: "tls13Only ? 'TLSv1.3' : 'TLSv1.2'",
      to: "'TLSv1.2'",
    },
  },

  // Strangers
  {
    threat: 'Somebody with a certificate of another CA connects to an agent',
    stoppedBy: 'closed after the handshake, before a byte of a request is used',
    test: 'contract/listener.test.ts',
    named: 'listener: node-tls, asked by undici refuses a client of another CA',
    without: {
      file: 'src/adapters/node-tls/client-certificate.ts',
      from: 'socket.authorized ? undefined :',
      to: 'true ? undefined :',
    },
  },
  {
    threat: 'The same over a connection that is older than the change of CAs',
    stoppedBy: 'the agent judges issuer, dates and usage again for every request',
    test: 'unit/sdk/agent/requests.test.ts',
    named:
      'nobody whose certificate is out of date, of another CA or not for clients, also with a trusted serial',
    without: {
      file: 'src/sdk/agent/trust/recognise.ts',
      from: 'if (certificate && !isOfOurCas(context, certificate, identity.authorities))',
      to: 'if (false)',
    },
  },
  {
    threat: 'Malicious dispatcher: has a certificate of the right CA, and no agent trusts it',
    stoppedBy: 'serials in the trust file of each agent; refused before the body is read',
    test: 'unit/sdk/agent/requests.test.ts',
    named: "on '/run', nobody with a serial that is not trusted, and no body is read",
    without: {
      file: 'src/sdk/agent/trust/recognise.ts',
      from: 'trustedAs(state.trust, serial);',
      to: 'trustedAs(state.trust, serial) ?? certificate?.commonName;',
    },
  },
  {
    threat: 'Malicious dispatcher: has a certificate made with the serial of a trusted one',
    stoppedBy: 'a serial is trusted for the one certificate that was seen with it',
    test: 'unit/sdk/dispatcher/trust/rotation.test.ts',
    named: 'a dispatcher is not taken for another by a certificate with the serial of that one',
    without: {
      file: 'src/sdk/agent/trust/recognise.ts',
      from: 'return known === undefined || crypto.equal(known.der, certificate.der);',
      to: 'return known === undefined || known.serial === certificate.serial;',
    },
  },
  {
    threat: 'Malicious dispatcher: says that it follows a trusted one, with a forged chain',
    stoppedBy: 'each step is signed by the key before it, from one that the agent knows',
    test: 'unit/sdk/dispatcher/trust/rotation.test.ts',
    named: 'a stranger is refused with a chain with a forged signature',
    without: {
      file: 'src/sdk/agent/trust/dispatcher-serials.ts',
      from: 'if (!crypto.verify(holder.spki, successionMessage(step, next.value.der), step.sig))',
      to: 'if (false)',
    },
  },
  {
    threat: 'Malicious dispatcher: shows the true chain of another',
    stoppedBy: 'the chain must end at the certificate of the caller',
    test: 'unit/sdk/dispatcher/trust/rotation.test.ts',
    named: 'a stranger is refused with a chain that somebody else than who it leads to shows',
    without: {
      file: 'src/sdk/agent/trust/dispatcher-serials.ts',
      from: 'crypto.equal(holder.der, certificate.der) ? ok(id)',
      to: 'true ? ok(id)',
    },
  },
  {
    threat: 'Malicious dispatcher, trusted: retires the serials of another',
    stoppedBy: 'each dispatcher changes serials under its own id only',
    test: 'unit/sdk/dispatcher/trust/rotation.test.ts',
    named: 'a dispatcher cannot retire a serial of another',
    without: {
      file: 'src/sdk/agent/trust/dispatcher-serials.ts',
      from: `  if (holder !== id) return errAsync(refusal(\`serial \${serial} belongs to another dispatcher\`));
  return okAsync(trustChange({ state }, removeTrust(state.trust, serial, id), []));`,
      to: '  return okAsync(trustChange({ state }, removeTrust(state.trust, serial, holder), []));',
    },
  },
  {
    threat: 'Malicious dispatcher, trusted: has the agent give up the CA of another',
    stoppedBy: 'a set of CAs under which a trusted dispatcher would be locked out is refused',
    test: 'unit/sdk/dispatcher/trust/ca-rollover.test.ts',
    named:
      'an agent refuses a set of CAs that would lock out the agent alone, or another dispatcher, also one that has not been here yet',
    without: {
      file: 'src/sdk/agent/trust/authority-updates.ts',
      from: 'return lost && `',
      to: 'return lost && undefined && `',
    },
  },
  {
    threat: 'Malicious dispatcher, trusted, or a stolen key of one: brings in a CA of its own',
    stoppedBy: 'a new CA must be vouched for by the key of one that is accepted',
    test: 'unit/sdk/dispatcher/trust/ca-rollover.test.ts',
    named: 'an agent refuses a set of CAs of which no CA that it accepts vouches for a new one, with 409',
    without: {
      file: 'src/sdk/agent/trust/authority-updates.ts',
      from: 'return foreign && `',
      to: 'return foreign && undefined && `',
    },
  },
  {
    threat: 'Malicious dispatcher, trusted: reads the output of another by its request id',
    stoppedBy: 'request ids belong to the dispatcher that used them',
    test: 'unit/sdk/agent/signatures.test.ts',
    named: 'a request id is the own of each dispatcher, whatever serials that has',
    without: {
      file: 'src/sdk/agent/runs/once.ts',
      from: 'owner: caller.id, reqid: ask.reqid };',
      to: "owner: 'any', reqid: ask.reqid };",
    },
  },
  {
    threat: 'Malicious dispatcher, trusted: runs what is not allowed, by a path or a crafted name',
    stoppedBy: 'names are looked up in the allowlist of the agent, never used as paths',
    test: 'unit/sdk/agent/runs/run.test.ts',
    named: 'the name "/opt/greet": script not permitted',
    without: {
      file: 'src/sdk/agent/runs/ask.ts',
      from: "typeof name === 'string' ? state.scripts.get(name) : undefined;",
      to: "typeof name === 'string' ? (state.scripts.get(name) ?? { name, path: name, profile: undefined, schema: undefined, schemaVersion: undefined }) : undefined;",
    },
  },

  // Compromised agents
  {
    threat: 'Compromised agent: poses as another that is registered',
    stoppedBy: 'the key is pinned by name, and compared before a byte is sent',
    test: 'unit/sdk/dispatcher/fleet/contact.test.ts',
    named: 'answered by the key of another registered agent is refused, and that one is asked nothing',
    without: {
      file: 'src/sdk/dispatcher/trust/agent-target.ts',
      from: 'if (latest && hasKey(latest, digest)) return usable();',
      to: 'if (latest) return usable();',
    },
  },
  {
    threat: 'Compromised agent, or a stranger of the same CA: answers where no registered name was asked',
    stoppedBy: 'its key must be pinned for some agent',
    test: 'unit/sdk/dispatcher/fleet/contact.test.ts',
    named: 'is refused with a key that nobody has, although its certificate is of our CA',
    without: {
      file: 'src/sdk/dispatcher/trust/agent-target.ts',
      from: 'if (!owner) return wrong(',
      to: 'if (!owner) return okAsync<void, TransportError>(undefined);\n      if (!owner) return wrong(',
    },
  },
  {
    threat: 'Compromised agent: poses as a dispatcher',
    stoppedBy: 'certificates of agents are for servers only',
    test: 'unit/sdk/agent/requests.test.ts',
    named:
      'nobody whose certificate is out of date, of another CA or not for clients, also with a trusted serial',
    without: {
      file: 'src/domain/trust/certificate.ts',
      from: 'if (certificate.usages && !certificate.usages.includes(usage)) return',
      to: 'if (false) return',
    },
  },
  {
    threat: 'Compromised agent: answers with the fields of another request',
    stoppedBy: 'a result has the request id that was asked with, and its host is the one that was asked',
    test: 'unit/sdk/dispatcher/runs/answers.test.ts',
    named: 'an answer that is not understood is exit -1 and says why another reqid',
    without: {
      file: 'src/domain/protocol/agent-protocol.ts',
      from: "body['reqid'] !== undefined && body['reqid'] !== reqid;",
      to: 'false;',
    },
  },
  {
    threat: 'Compromised agent: answers in the name of another',
    stoppedBy: 'results are filed under the name that was asked, whatever the body says',
    test: 'unit/sdk/dispatcher/runs/run.test.ts',
    named: 'results are kept under the registered name when the agent claims to be another',
    without: {
      file: 'src/sdk/dispatcher/runs/run.ts',
      from: 'resultOf({ ...base, rtt }, read, name)',
      to: 'resultOf({ ...base, rtt, host: JSON.parse(new TextDecoder().decode(answer.body)).host ?? base.host }, read, name)',
    },
  },
  {
    threat: 'Compromised agent, or somebody in between: streams the output and the result of another run',
    stoppedBy: 'the last line of a stream signs all lines before it and the result, for this very request',
    test: 'unit/sdk/dispatcher/runs/streamed-answer.test.ts',
    named: 'where it is that of another run, byte for byte',
    without: {
      file: 'src/sdk/dispatcher/runs/streamed-answer.ts',
      from: '          if (checked.isErr()) return err(checked.error);\n',
      to: '',
    },
  },
  {
    threat: 'Compromised agent: streams output, and ends without vouching for it',
    stoppedBy: 'a stream without its end line is no result, and nothing of it is kept',
    test: 'unit/sdk/dispatcher/runs/streamed-answer.test.ts',
    named: 'where the connection breaks before its end, which may still be fetched',
    without: {
      file: 'src/sdk/dispatcher/trust/agent-request.ts',
      from: 'followed?.following.verdict().isOk()',
      to: 'followed',
    },
  },
  {
    threat: 'Compromised agent: writes lines in the name of another host into a run that is followed',
    stoppedBy: 'every line has its host in front, and control characters are shown as escapes',
    test: 'unit/apps/cli/followed-output.test.ts',
    named: 'is one line of its own host and stream for each line end, whatever a script writes',
    without: {
      file: 'src/apps/cli/followed-output.ts',
      from: 'printable(part, Number.POSITIVE_INFINITY)',
      to: 'part.slice()',
    },
  },
  {
    threat: 'A user who may start no run: looks at, or stops, that of another',
    stoppedBy: 'the hook is asked about both, and told whose run it is',
    test: 'unit/sdk/dispatcher/runs/async-runs.test.ts',
    named: 'asks the hook, which is told whose run it is, before any agent',
    without: {
      file: 'src/sdk/dispatcher/runs/lookup.ts',
      from: '    yield* authorise(context, question, caller, withoutHook);\n',
      to: '',
    },
  },
  {
    threat: 'Compromised agent: puts control characters into what people and logs are shown',
    stoppedBy: 'what an agent says is escaped and cut',
    test: 'unit/sdk/dispatcher/runs/answers.test.ts',
    named: 'hostile texts in an error do not reach a result or a terminal',
    without: {
      file: 'src/domain/protocol/agent-protocol.ts',
      from: '{ error: printable(error, 500) }',
      to: '{ error }',
    },
  },
  {
    threat: 'Compromised agent: asks at its renewal for a certificate in the name of another',
    stoppedBy: 'the name is that of its present certificate; of a CSR nothing is used but the key',
    test: 'unit/sdk/dispatcher/trust/renewal-attacked.test.ts',
    named: 'an agent that was broken into gets a certificate in its own name, whatever name its CSR asks for',
    without: {
      file: 'src/sdk/dispatcher/trust/renewal.ts',
      from: "const profile = { kind: 'agent', name, asClientToo } as const;",
      to: "const { Pkcs10CertificateRequest } = await import('@peculiar/x509');\n    const asked = new Pkcs10CertificateRequest(begun.csr).subjectName.getField('CN')[0] ?? name;\n    const profile = { kind: 'agent', name: asked, asClientToo } as const;",
    },
  },
  {
    threat: 'The same when it pairs',
    stoppedBy: 'the name is the one that was approved',
    test: 'unit/sdk/pairing/man-in-the-middle.test.ts',
    named:
      'an agent that asks to pair gets a certificate in the name that was approved, whatever its CSR says',
    without: {
      file: 'src/sdk/dispatcher/pairing/session.ts',
      from: "const certificate = yield* authority.issue({ kind: 'agent', name }, csr.spki, validity);",
      to: "const { Pkcs10CertificateRequest } = await import('@peculiar/x509');\n      const asked = new Pkcs10CertificateRequest(csr.der as never).subjectName.getField('CN')[0] ?? name;\n      const certificate = yield* authority.issue({ kind: 'agent', name: asked }, csr.spki, validity);",
    },
  },
  {
    threat: 'Compromised agent: asks for a certificate over a key that it does not have',
    stoppedBy: 'the signature of a CSR over itself is checked',
    test: 'contract/certificate-requests.test.ts',
    named: 'certificate requests: x509 refuses a ed25519 request after any change of a byte',
    without: {
      file: 'src/adapters/x509/certificate-requests.ts',
      from: 'whySignatureFails(request, key);',
      to: 'request ? undefined : whySignatureFails(request, key);',
    },
  },
  {
    threat: 'Compromised agent: sends the CSR of another agent as its own',
    stoppedBy: 'a key is pinned for one name',
    test: 'contract/registry.test.ts',
    named:
      'registry: sqlite a key that another name has pinned is no renewal, nor is one of an agent that is not there',
    without: {
      file: 'src/adapters/sql/shared/registry.ts',
      from: 'const { pairing } = yield* knownRecord(tx, name);\n    yield* freeFor(tx, name, pin.spkiSha256);',
      to: 'const { pairing } = yield* knownRecord(tx, name);',
    },
  },
  {
    threat: 'A dispatcher hands an agent a certificate in another name at a renewal',
    stoppedBy: 'the agent takes only its own names, key, CA, usage and dates',
    test: 'unit/sdk/dispatcher/trust/renewal.test.ts',
    named: 'an agent refuses a certificate in another name',
    without: {
      file: 'src/sdk/agent/trust/renewal.ts',
      from: "if (!same) return refuse('cert is in another name');",
      to: 'if (!same) same;',
    },
  },

  // Stolen and revoked
  {
    threat: 'The certificate of a dispatcher was stolen: its serial is on the list that people write',
    stoppedBy: 'serials in `revoked-serials`, for every request',
    test: 'unit/sdk/agent/requests.test.ts',
    named: "on '/run', nobody with a revoked serial, also a trusted one, and no body is read",
    without: {
      file: 'src/sdk/agent/trust/recognise.ts',
      from: 'if (state.revoked.has(serial))',
      to: 'if (false)',
    },
  },
  {
    threat: 'The certificate of a dispatcher was stolen: it was revoked with `revoke`',
    stoppedBy: 'revocation lists, pushed to every agent and kept over its restart',
    test: 'unit/sdk/dispatcher/trust/revocation.test.ts',
    named: 'agents refuse a dispatcher whose serial is on the list, on a connection that is open',
    without: {
      file: 'src/sdk/agent/trust/trust.ts',
      from: '      ...lists.flatMap((list) => list.revoked.map(({ serial }) => serial)),\n',
      to: '',
    },
  },
  {
    threat: 'A revoked dispatcher begins a request before it is revoked, and ends it after',
    stoppedBy: 'the caller is judged again when the body is there',
    test: 'unit/sdk/agent/requests.test.ts',
    named: "because it is 'revoked' is refused on '/run', and nothing is done",
    without: {
      file: 'src/sdk/agent/requests.ts',
      from: 'const still = recognise(context, served.current(), request);',
      to: 'const still = caller;',
    },
  },
  {
    threat: 'A revoked dispatcher is let in again by an older list',
    stoppedBy: 'the numbers of the lists of a dispatcher only grow',
    test: 'unit/sdk/dispatcher/trust/revocation.test.ts',
    named: 'agents refuse an older list and one that nobody they accept has signed',
    without: {
      file: 'src/sdk/agent/trust/authority-updates.ts',
      from: 'if (held === undefined || list.number > held.number) return undefined;',
      to: 'if (list) return undefined;',
    },
  },
  {
    threat: 'A revoked dispatcher is let in again by the list of another',
    stoppedBy: 'a list takes the place only of one that the same dispatcher brought',
    test: 'unit/sdk/dispatcher/trust/revocation.test.ts',
    named: 'agents hold the lists of several dispatchers, each with its own numbers',
    without: {
      file: 'src/sdk/agent/trust/trust.ts',
      from: 'return from(dispatcherId) ?? from(undefined);',
      to: 'return from(dispatcherId) ?? ofCa[0];',
    },
  },
  {
    threat: 'Somebody locks dispatchers out with a list of his own',
    stoppedBy: 'a list must be signed by a CA that the agent accepts',
    test: 'contract/revocation-lists.test.ts',
    named: 'revocation lists: x509 signature of another CA, or in the name of another, does not count',
    without: {
      file: 'src/adapters/x509/list-reading.ts',
      from: '? whySignatureFails(frame, key)',
      to: '? (frame ? undefined : whySignatureFails(frame, key))',
    },
  },
  {
    threat: 'A revoked dispatcher follows itself by a chain of successions',
    stoppedBy: 'no serial of a chain may be revoked',
    test: 'unit/sdk/dispatcher/trust/rotation.test.ts',
    named: 'a stranger is refused with a chain of which serial 0 is revoked',
    without: {
      file: 'src/sdk/agent/trust/dispatcher-serials.ts',
      from: 'if (state.revoked.has(step.old)) return',
      to: 'if (false) return',
    },
  },
  {
    threat: 'The certificate of an agent was stolen: it was revoked with `revoke`',
    stoppedBy: 'revocations are looked up before every request, over kept connections, too',
    test: 'unit/sdk/dispatcher/trust/revocation.test.ts',
    named:
      'revoke NAME: the agent is refused at once, also on a connection that is kept, and nothing is sent',
    without: {
      file: 'src/sdk/dispatcher/trust/agent-target.ts',
      from: 'const revoked = itself || (own.length > 0 && own.every((each) => each));',
      to: 'const revoked = itself && own.length < 0;',
    },
  },
  {
    threat: 'A key pin was replaced, and the old key still has a connection',
    stoppedBy: 'the peer of a kept connection is judged for every request',
    test: 'contract/transport.test.ts',
    named:
      'transport: undici, to node-tls asks the judge of the request, not the one that the connection was made with',
    without: {
      file: 'src/adapters/undici/transport.ts',
      from: 'const verdict = await Promise.race([target.judge(channel.peer), otherwise]);',
      to: 'const verdict = await Promise.race([Promise.resolve(ok<void, TransportError>(undefined)), otherwise]);',
    },
  },
  {
    threat: 'A session of TLS is resumed that was begun under other CAs or certificates',
    stoppedBy: 'there are no tickets',
    test: 'unit/adapters/node-tls/clients.test.ts',
    named: 'TLS TLSv1.2 sessions are not resumed',
    without: {
      file: 'src/adapters/node-tls/secure-context.ts',
      from: 'constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET',
      to: 'constants.SSL_OP_NO_RENEGOTIATION',
    },
  },
  {
    threat: 'A key that others on the host can read',
    stoppedBy: 'refused when found so',
    test: 'unit/adapters/files/identity/key-store-disk.test.ts',
    named: 'key store on disk a key of mode 416 is not read, and replacing it makes it 0600',
    without: {
      file: 'src/adapters/files/identity/reading.ts',
      from: 'if (isKey(item) && (mode & 0o077) !== 0)',
      to: 'if (false)',
    },
  },

  // Replay
  {
    threat: 'Replay: a request is sent again, byte for byte',
    stoppedBy: 'its nonce is remembered before anything comes of it',
    test: 'unit/sdk/agent/signatures.test.ts',
    named: "a request that is sent again byte for byte is refused as replayed on '/run'",
    without: {
      file: 'src/sdk/agent/requests.ts',
      from: "if (entered.value === 'fresh') return undefined;",
      to: "if (entered.value !== 'full') return undefined;",
    },
  },
  {
    threat: 'Replay: many at the same moment',
    stoppedBy: 'of several with one nonce one is the first',
    test: 'contract/replay-cache.test.ts',
    named: 'replay cache contract: files of many that enter the same nonce at once exactly one is fresh',
    without: {
      file: 'src/domain/protocol/replay-window.ts',
      from: '!(until >= now) || isLive(seen.get(digest)) || isSpent(second)',
      to: '!(until >= now) || isSpent(second)',
    },
  },
  {
    threat: 'Replay across a restart of the agent',
    stoppedBy: 'the nonces are in a journal',
    test: 'unit/sdk/agent/replay.test.ts',
    named: 'an agent that was restarted accepts no request that it had before',
    without: {
      file: 'src/adapters/files/journal/replay-generations.ts',
      from: '    seen.restore(entry.digest, entry.second);\n',
      to: '',
    },
  },
  {
    threat: 'Replay across a reboot, or where the journal is lost',
    stoppedBy: 'for half a minute nothing is accepted that may have been here',
    test: 'unit/sdk/agent/replay.test.ts',
    named: 'on a host that was booted meanwhile refuses for half a minute what it may have had',
    without: {
      file: 'src/sdk/agent/requests.ts',
      from: 'if (doubtful && created <= doubtfulBefore)',
      to: 'if (false)',
    },
  },
  {
    threat: 'Replay across a reboot that left an older journal on the disk',
    stoppedBy: 'the journal names its boot',
    test: 'unit/adapters/files/journal/replay-cache.test.ts',
    named: 'replay cache in files is complete for the next process of the same boot, and for no other',
    without: {
      file: 'src/adapters/files/journal/replay-cache.ts',
      from: 'whole && boot !== undefined && newest?.boot === boot;',
      to: 'whole;',
    },
  },
  {
    threat: 'Replay with a journal that was damaged or cut off',
    stoppedBy: 'frames have digests, and each file says what the others hold; else it counts as lost',
    test: 'unit/adapters/files/journal/replay-cache.test.ts',
    named: 'replay cache in files an older file that is missing or cut off makes it incomplete',
    without: {
      file: 'src/adapters/files/journal/replay-generations.ts',
      from: 'whole &&= older.intact && older.generation.frames === limit;',
      to: 'whole &&= true;',
    },
  },
  {
    threat: 'Replay across hosts: what was signed for one agent is sent to another',
    stoppedBy: 'the key of the agent is signed, and must be its own',
    test: 'unit/sdk/agent/signatures.test.ts',
    named: "a request that is signed for another agent is refused on '/run',",
    without: {
      file: 'src/domain/protocol/request-signature.ts',
      from: 'if (!by.targets.includes(signature.target))',
      to: 'if (false)',
    },
  },
  {
    threat: 'Replay across time: sent when nobody remembers it',
    stoppedBy: 'a signature expires',
    test: 'unit/sdk/agent/signatures.test.ts',
    named: "a request that has expired is refused on '/run',",
    without: {
      file: 'src/domain/protocol/request-signature.ts',
      from: 'if (late > clockTolerance) return',
      to: 'if (false) return',
    },
  },
  {
    threat: 'Replay across time: a signature that holds for years',
    stoppedBy: 'none is accepted for longer than 300 s',
    test: 'unit/sdk/agent/signatures.test.ts',
    named: "a request that is valid for longer than any may be is refused on '/run',",
    without: {
      file: 'src/domain/protocol/request-signature.ts',
      from: 'lifetime <= 0 || lifetime > longestLifetime',
      to: 'lifetime <= 0',
    },
  },
  {
    threat: 'Replay by a new signature over an old run: a repetition of the dispatcher itself, too',
    stoppedBy: 'a request id runs at most once, and is given the answer of before',
    test: 'unit/sdk/agent/signatures.test.ts',
    named: 'a request id runs once: with another signature it is given the answer of before, byte for byte',
    without: {
      file: 'src/sdk/agent/runs/once.ts',
      from: "if (reqid === undefined || (caller.unsigned && ask.mode !== 'async')) return forgotten;",
      to: 'if (ask) return forgotten;',
    },
  },
  {
    threat: 'The same across a restart of the agent',
    stoppedBy: 'request ids are in a journal',
    test: 'unit/sdk/agent/replay.test.ts',
    named: 'an agent that was restarted runs no request id again, and gives the answer of before',
    without: {
      file: 'src/adapters/files/journal/agent-runs.ts',
      from: "await unless(['ENOENT'], readFrames(path, each));",
      to: "if (newer) await unless(['ENOENT'], readFrames(path, each));",
    },
  },
  {
    threat: 'A run is cut off by a crash, and asked for again',
    stoppedBy: 'what ran is lost, not forgotten',
    test: 'unit/adapters/files/journal/agent-runs.test.ts',
    named:
      'agent runs in files what ran when the process ended is lost for all that follow, and does not begin again',
    without: {
      file: 'src/adapters/files/journal/agent-runs.ts',
      from: "if (run.state === 'running') set(key, { ...run, state: 'lost' });",
      to: "if (run.state === 'running') runs.delete(key);",
    },
  },
  {
    threat: 'Replay of an answer: to the same words, asked again',
    stoppedBy: 'an answer signs the signature of its request',
    test: 'unit/sdk/protocol/message-signing.test.ts',
    named: 'a signed answer is of one request: neither another one nor the same one asked again',
    without: {
      file: 'src/domain/protocol/answer-signature.ts',
      from: '  ...(signed ? requestSignature : []),\n',
      to: '  ...(signed ? requestSignature.slice(2) : []),\n',
    },
  },

  // Altered
  {
    threat: 'The body of a request is altered',
    stoppedBy: 'its digest is signed, and checked before anything is parsed',
    test: 'unit/sdk/agent/signatures.test.ts',
    named: "a request that has another body than was signed is refused on '/run',",
    without: {
      file: 'src/domain/protocol/request-signature.ts',
      from: 'if (contentDigestOf(body.sha256) !== signed.contentDigest) return',
      to: 'if (false) return',
    },
  },
  {
    threat: 'Path, method, host or digest of a request is altered, or it is signed by another key',
    stoppedBy: 'the signature over them is checked with the key of the TLS peer',
    test: 'unit/sdk/agent/signatures.test.ts',
    named: "a request that was signed for another path is refused on '/run',",
    without: {
      file: 'src/sdk/protocol/message-signing.ts',
      from: 'if (!crypto.verify(certificate.spki, utf8(found.base), found.signature))',
      to: 'if (false)',
    },
  },
  {
    threat: 'The body of an answer is altered',
    stoppedBy: 'its digest is signed',
    test: 'unit/sdk/dispatcher/runs/result-signatures.test.ts',
    named: 'an answer that has another body than was signed is no result',
    without: {
      file: 'src/domain/protocol/answer-signature.ts',
      from: 'return by.contentDigest === signature.contentDigest ?',
      to: 'return by ?',
    },
  },
  {
    threat: 'Somebody inside the connection answers, who has not the key of the agent',
    stoppedBy: 'an answer is signed by the key of the certificate that the connection shows',
    test: 'unit/sdk/dispatcher/runs/result-signatures.test.ts',
    named: 'an answer that is signed by another key under the name of the right certificate is no result',
    without: {
      file: 'src/sdk/protocol/message-signing.ts',
      from: 'crypto.verify(by.certificate.spki, utf8(found.base), found.signature)',
      to: 'found',
    },
  },

  // Downgrade at signing
  {
    threat: 'Downgrade at signing: the signature of a request is stripped',
    stoppedBy: 'an agent does nothing for a request that is not signed',
    test: 'unit/sdk/agent/signatures.test.ts',
    named: "a request that is not signed is refused on '/run',",
    without: {
      file: 'src/sdk/agent/requests.ts',
      from: "if ('stranger' in caller || refusal.error !== 'signature required') return refusal;",
      to: `if (refusal.error === 'signature required') return undefined;
  if ('stranger' in caller) return refusal;`,
    },
  },
  {
    threat: 'Downgrade at signing: fewer parts of a request are signed',
    stoppedBy: 'exactly the components of the protocol, in their order',
    test: 'unit/domain/protocol/message-signature.test.ts',
    named: 'the form of a request signature components, @path left out: invalid',
    without: {
      file: 'src/domain/protocol/request-signature.ts',
      from: 'if (!hasBody && !covers(found, withoutBody)) return',
      to: 'if (false) return',
    },
  },
  {
    threat: 'Downgrade at signing: a weaker algorithm is named',
    stoppedBy: 'the algorithm follows from the key, and another name for it is refused',
    test: 'unit/sdk/protocol/message-signing.test.ts',
    named: "of a key 'p256' that says it is 'ed25519' is invalid",
    without: {
      file: 'src/domain/protocol/message-signature.ts',
      from: 'if (algorithm !== by.algorithm)',
      to: 'if (false)',
    },
  },
  {
    threat: 'Downgrade at signing: the signature of an answer is stripped',
    stoppedBy: 'such an answer is no result',
    test: 'unit/sdk/dispatcher/runs/result-signatures.test.ts',
    named: 'an answer that is not signed is no result',
    without: {
      file: 'src/sdk/dispatcher/trust/agent-request.ts',
      from: 'if (!isUnsigned(answer)) return refuse(checked.error);',
      to: `if (isUnsigned(answer)) return okAsync(answer);
  if (!isUnsigned(answer)) return refuse(checked.error);`,
    },
  },

  {
    threat: 'Downgrade at signing: a dispatcher that has signed before is posed as by an unsigned request',
    stoppedBy: 'the first valid signature makes signatures required, and that is stored',
    test: 'unit/sdk/agent/legacy-dispatchers.test.ts',
    named: 'a request that is not signed is refused once its dispatcher has signed, also after a restart',
    without: {
      file: 'src/sdk/agent/legacy-dispatchers.ts',
      from: 'if (signing.has(caller.id))',
      to: 'if (signing.size < 0)',
    },
  },
  {
    threat: 'Downgrade at signing: an agent that has signed before answers without a signature',
    stoppedBy: 'the first valid signature makes signatures required, whatever allow_legacy_agents says',
    test: 'unit/sdk/dispatcher/trust/legacy-agents.test.ts',
    named: 'an agent that does not sign is not believed any more once it has signed',
    without: {
      file: 'src/domain/trust/agent-standing.ts',
      from: "standing.speaks !== 'signed' && (allowed",
      to: "name !== '' && (allowed",
    },
  },
  {
    threat: 'An unsigned request asks for more than legacy dispatchers know',
    stoppedBy: 'only the routes of the legacy protocol are served without a signature',
    test: 'unit/sdk/agent/legacy-dispatchers.test.ts',
    named: "a request that is not signed 'POST' '/v2/cas' is for signers only",
    without: {
      file: 'src/sdk/agent/legacy-dispatchers.ts',
      from: "legacyRoutes.some((form) => form.test(route)) ? undefined : 'only ours ask for this'",
      to: 'legacyRoutes.some((form) => form.test(route)) ? undefined : undefined',
    },
  },
  {
    threat: 'A host of the same CA answers for an agent whose key is not known yet',
    stoppedBy: 'its certificate must name the recorded host, or an operator pins it',
    test: 'unit/sdk/dispatcher/trust/legacy-agents.test.ts',
    named:
      'the first contact with an agent that was taken over refuses a certificate that names another host',
    without: {
      file: 'src/sdk/dispatcher/trust/first-pin.ts',
      from: 'if (!by.whoever && !names(peer, record))',
      to: 'if (!by.whoever && !names(peer, record) && !peer)',
    },
  },

  // Clocks
  {
    threat: 'Clock skew: a request of the future, to be sent again when it is forgotten',
    stoppedBy: 'none that was made more than 30 s ahead',
    test: 'unit/sdk/agent/signatures.test.ts',
    named: "a request that is of the future is refused on '/run',",
    without: {
      file: 'src/domain/protocol/request-signature.ts',
      from: 'if (ahead > clockTolerance) return',
      to: 'if (false) return',
    },
  },
  {
    threat: 'Clock skew: the clock of the agent is set back, and what it forgot is sent again',
    stoppedBy: 'times that were forgotten stay spent',
    test: 'contract/replay-cache.test.ts',
    named: 'replay cache contract: files setting the clock back makes nothing acceptable again',
    without: {
      file: 'src/domain/protocol/replay-window.ts',
      from: ' || isSpent(second)) return',
      to: ') return',
    },
  },
  {
    threat: 'Clock skew: a refusal of another time, given to a request that was not understood',
    stoppedBy: 'one that is not bound to its request is believed within 30 s only',
    test: 'unit/sdk/agent/replay.test.ts',
    named:
      'a refusal that is not bound to its request is believed for as long as clocks may differ, and no longer',
    without: {
      file: 'src/domain/protocol/answer-signature.ts',
      from: 'if (!signature.bound && apart > clockTolerance) return',
      to: 'if (false) return',
    },
  },

  // On the host
  {
    threat: 'A script without `#!` ends up in `/bin/sh`, where arguments are commands',
    stoppedBy: 'refused before the system is asked',
    test: 'slow/adapters/child-process-runner.test.ts',
    named: 'what cannot be started text without an interpreter line: said so, never thrown',
    without: {
      file: 'src/adapters/child-process/refusal.ts',
      from: 'return sample !== undefined && lacksInterpreter(sample);',
      to: 'return false;',
    },
  },
  {
    threat:
      'The agent is killed between accepting a job and starting it, and the job is run after it was said to be lost',
    stoppedBy:
      'who may run it is decided by one file that appears once, made by its watcher or by who gives it up',
    test: 'slow/adapters/child-process-jobs.test.ts',
    named: 'a start that was interrupted is lost, and whoever comes late to run it does not',
    without: {
      file: 'src/adapters/child-process/jobs/watch.ts',
      from: ": { kind: 'gone' };",
      to: ": { kind: 'taken', files };",
    },
  },
  {
    threat:
      'The system gives the id of a dead process out again, and a stranger is signalled, or believed in, for it',
    stoppedBy: 'a process is its id, its start time and the boot in which it ran',
    test: 'slow/adapters/child-process-jobs.test.ts',
    named: 'ids that the same boot gave out again are not taken for theirs',
    without: {
      file: 'src/adapters/child-process/process-identity.ts',
      from: 'return stat.started === started &&',
      to: 'return',
    },
  },
  {
    threat:
      'Malicious dispatcher, trusted: fetches the result of a run of another, or learns that there is one',
    stoppedBy: 'runs are looked for under the id of who asks; what is not found there is unknown',
    test: 'unit/sdk/agent/runs/async.test.ts',
    named: 'a result is for its own dispatcher: to others it is as unknown as any other id',
    without: {
      file: 'src/sdk/agent/runs/result.ts',
      from: 'const key = { owner: caller.id, reqid };',
      to: "const key = { owner: 'control', reqid };",
    },
  },
  {
    threat: 'Malicious dispatcher, trusted: stops the runs of another',
    stoppedBy: 'only runs of who asks are looked for',
    test: 'unit/sdk/agent/runs/async.test.ts',
    named: 'a result is for its own dispatcher: to others it is as unknown as any other id',
    without: {
      file: 'src/sdk/agent/runs/cancel.ts',
      from: 'owner: caller.id, reqid });',
      to: "owner: 'control', reqid });",
    },
  },
  {
    threat: 'Malicious dispatcher, trusted: takes all places for runs, so that no other one gets any',
    stoppedBy: 'the last quarter of the places is none that one of several can have taken',
    test: 'unit/sdk/agent/runs/async.test.ts',
    named: 'places of the last quarter no dispatcher can take where several are trusted',
    without: {
      file: 'src/sdk/agent/runs/run-script.ts',
      from: 'return several ? limit - Math.floor(limit / 4) : limit;',
      to: 'return several ? limit : limit;',
    },
  },
  {
    threat:
      'A request id that was used for an async run is used for another one, when the other record of it is gone',
    stoppedBy: 'the jobs are asked before every run',
    test: 'unit/sdk/agent/runs/async.test.ts',
    named: 'at most once holds where only the jobs remember, and where only the other record does',
    without: {
      file: 'src/sdk/agent/runs/once.ts',
      from: 'if (job.value !== undefined) return repeated(context, caller, ask, job.value);',
      to: 'if (job.value === null) return repeated(context, caller, ask, job.value);',
    },
  },
  {
    threat: 'The output of a streamed run is altered on its way, or a part of it is missing',
    stoppedBy: 'the last line has a digest of all before it, which is signed',
    test: 'unit/domain/protocol/output-stream.test.ts',
    named: 'a stream is not taken where a byte is another one',
    without: {
      file: 'src/domain/protocol/output-stream.ts',
      from: 'read.digest === found\n',
      to: 'found\n',
    },
  },
  {
    threat: 'The result of a streamed run is altered',
    stoppedBy: 'the digest of the result is signed together with that of the output',
    test: 'unit/sdk/protocol/stream-signing.test.ts',
    named: 'the end line of a streamed run does not verify with another exit',
    without: {
      file: 'src/sdk/protocol/message-signing.ts',
      from: 'crypto.sha256(utf8(canonicalJson(result)))',
      to: "crypto.sha256(utf8(''))",
    },
  },
  {
    threat: 'Who follows a run reads slowly, or not at all, to fill the memory of the agent',
    stoppedBy: 'the program waits for its reader',
    test: 'unit/sdk/agent/runs/stream.test.ts',
    named: 'a streamed run slows its program down to the pace of its reader, and holds little',
    without: {
      file: 'src/sdk/agent/runs/stream.ts',
      from: "if (size < highWater || state !== 'open') return resolve(state === 'open');",
      to: "if (size >= 0) return resolve(state === 'open');",
    },
  },
  {
    threat: 'A link is swapped between load and run, to leave `script_dirs`',
    stoppedBy: 'the real path is found again at every run, and that one is executed',
    test: 'unit/sdk/agent/runs/limits.test.ts',
    named: 'script_dirs a link that leaves them after the load is not followed',
    without: {
      file: 'src/sdk/agent/runs/scripts.ts',
      from: 'if (withinDirectories(real, existing))',
      to: 'if (real)',
    },
  },
  {
    threat: 'A hook that did not say yes is taken for one that did',
    stoppedBy: 'only exit 0 is a yes',
    test: 'unit/domain/runs/auth-hook.test.ts',
    named: 'judging a hook {"kind":"exited","code":255} is denied, whatever holds without a hook',
    without: {
      file: 'src/domain/runs/auth-hook.ts',
      from: 'if (outcome.code === 0) return',
      to: 'if (outcome.code === 0 || outcome.code > 3) return',
    },
  },
  {
    threat: 'A peer forges lines of the log',
    stoppedBy: 'values are escaped',
    test: 'unit/domain/core/log-line.test.ts',
    named: 'log line whatever the values hold, it is one visible line that reads back to the same fields',
    without: {
      file: 'src/domain/core/log-line.ts',
      from: 'if (!escaped.test(character)) return',
      to: "if (!escaped.test(character) || character === '\\n') return",
    },
  },
];

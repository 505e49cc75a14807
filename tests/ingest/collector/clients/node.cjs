// The six calls by @segment/analytics-node or the former analytics-node: node node.cjs PACKAGE HOST KEY
const [, , name, host, writeKey] = process.argv

async function main() {
  const given = require(name)
  const analytics =
    name === 'analytics-node'
      ? new given(writeKey, { host })
      : new given.Analytics({ host, writeKey, flushAt: 20 })
  const timestamp = new Date('2024-05-06T07:08:09.123Z')
  analytics.identify({ userId: 'u1', traits: { email: 'jane@example.com', plan: 'Pro' } })
  analytics.track({ userId: 'u1', event: 'API Call Made', properties: { status_code: 201 }, timestamp })
  analytics.page({ userId: 'u1', name: 'Docs', category: 'Site', properties: { path: '/docs' } })
  analytics.screen({ userId: 'u1', name: 'Main', properties: { n: 1 } })
  analytics.group({ userId: 'u1', groupId: 'company_789', traits: { employees: 250 } })
  analytics.alias({ userId: 'u1', previousId: 'anon-1' })
  if (analytics.closeAndFlush) await analytics.closeAndFlush()
  else await new Promise((resolve, reject) => analytics.flush((error) => (error ? reject(error) : resolve())))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})

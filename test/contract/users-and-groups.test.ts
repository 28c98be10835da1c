import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Configuration, UserManagementApi } from '@ionos-cloud/sdk-nodejs'
import { startControlPlane } from './support/control-plane.ts'

test('with the vendor’s SDK a group is made, given a data center, asked what it has, and deleted', async () => {
  await using weir = await startControlPlane()
  const { username, password, datacenterId: resourceId } = weir.owner
  const api = new UserManagementApi(new Configuration({ username, password, basePath: weir.base }))

  const sharable = (await api.umResourcesFindByType({ resourceType: 'datacenter', depth: 1 })).data
  const properties = { name: 'writers', createFlowLog: true }
  const { id: groupId } = (await api.umGroupsPost({ group: { properties } })).data as { id: string }
  const share = { properties: { editPrivilege: true } }
  await api.umGroupsSharesPost({ groupId, resourceId, resource: share })
  const resources = (await api.umGroupsResourcesGet({ groupId, depth: 1 })).data
  const whole = (await api.umGroupsFindById({ groupId, depth: 2 })).data
  const one = (await api.umResourcesFindByTypeAndId({ resourceType: 'datacenter', resourceId })).data
  const others = (await api.umResourcesFindByType({ resourceType: 'snapshot' })).data
  await api.umGroupsSharesDelete({ groupId, resourceId })
  const ended = (await api.umGroupsResourcesGet({ groupId })).data
  await api.umGroupsDelete({ groupId })

  const datacenter = (await weir.get(`/datacenters/${resourceId}`)).body
  assert.deepEqual(one, {
    id: resourceId,
    type: 'datacenter',
    href: `${weir.base}/um/resources/datacenter/${resourceId}`,
    metadata: datacenter.metadata,
    properties: { name: datacenter.properties.name, secAuthProtection: false },
  })
  assert.deepEqual([sharable.items, resources.items, whole.entities?.resources?.items], [[one], [one], [one]])
  assert.deepEqual([others.items, ended.items], [[], []])
  assert.equal((await weir.get('/um/resources/flowlog')).status, 404)
  assert.equal((await weir.get(`/um/resources/snapshot/${resourceId}`)).status, 404)
  assert.equal((await weir.get(`/um/groups/${groupId}/resources`)).status, 404)
})

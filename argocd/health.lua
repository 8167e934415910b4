-- Health of an LLMDeployment for Argo CD: Progressing, Healthy, Degraded or Suspended, in the words of its conditions.
-- Lua 5.1, no libraries; `obj` is the live object. Tested by tests/unit/argocd on statuses that the operator writes.

local function health(status, message)
  return {status = status, message = message}
end

if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing", "it is being deleted: replicas drain")
end

local status = obj.status
if status == nil or status.conditions == nil then
  return health("Progressing", "the operator has not seen it yet")
end
if obj.metadata.generation ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "the operator has not seen the newest change yet")
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end

local function is(kind, value)
  return conditions[kind] ~= nil and conditions[kind].status == value
end

local function because(kind)
  local found = conditions[kind]
  return (found.reason or kind) .. ": " .. (found.message or "")
end

-- What passes by itself: retries, what comes later, a namespace that goes, a replica that is being replaced; and what is
-- started although it is not expected to fit, since spec.fit.policy says so.
local passing = {Transient = true, Missing = true, NamespaceTerminating = true, NodeLost = true, WarnedOnly = true}

-- What waiting will not mend comes first, even while the replicas of before still serve.
for _, kind in ipairs({"Planned", "ModelAvailable", "Reconciled"}) do
  if is(kind, "False") and not passing[conditions[kind].reason] then
    return health("Degraded", because(kind))
  end
end
if is("Degraded", "True") and not passing[conditions.Degraded.reason] then
  return health("Degraded", because("Degraded"))
end

if is("Ready", "True") then
  -- Zero that a person has asked for waits for one; zero of the autoscaler ends with the next request.
  if conditions.Ready.reason == "ScaledToZero" and conditions.Autoscaled == nil then
    return health("Suspended", because("Ready"))
  end
  return health("Healthy", because("Ready"))
end

-- A rollout that waits, for room or for a word in the spec, goes on when somebody acts.
if is("Progressing", "False") and conditions.Progressing.reason ~= "Settled" then
  return health("Suspended", because("Progressing"))
end

if conditions.Ready ~= nil then
  return health("Progressing", because("Ready"))
end
return health("Progressing", "the operator has not judged it yet")

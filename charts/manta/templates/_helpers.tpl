{{/* Names and labels that the templates share. */}}

{{- define "manta.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The base of all names: "manta-operator" for a release called manta. */}}
{{- define "manta.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "manta.name" .) .Release.Name }}
{{- printf "%s-operator" .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s-operator" .Release.Name (include "manta.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "manta.serviceAccountName" -}}
{{- default (include "manta.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "manta.webhookName" -}}
{{- include "manta.fullname" . }}-webhook
{{- end }}

{{- define "manta.releaseName" -}}
{{- include "manta.fullname" . }}-release
{{- end }}

{{- define "manta.instanceLabels" -}}
app.kubernetes.io/name: {{ include "manta.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "manta.selectorLabels" -}}
{{ include "manta.instanceLabels" . }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Not managed-by=manta: that label marks what the operator makes, and it watches and prunes by it. */}}
{{- define "manta.standardLabels" -}}
app.kubernetes.io/part-of: manta
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "manta.labels" -}}
{{ include "manta.selectorLabels" . }}
{{ include "manta.standardLabels" . }}
{{- end }}

{{- define "manta.releaseLabels" -}}
{{ include "manta.instanceLabels" . }}
app.kubernetes.io/component: release
{{ include "manta.standardLabels" . }}
{{- end }}

{{- define "manta.image" -}}
{{- $_ := required "image.repository: name the operator's image in a registry of yours, for example --set image.repository=registry.example/manta/operator; nobody publishes one, docs/install.md says how to build it" .Values.image.repository }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Where pods may run and what they pull with: the operator's, and the hook's after it. */}}
{{- define "manta.placement" -}}
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.operator.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.operator.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Whether rights beyond the served namespaces are given; empty: no. */}}
{{- define "manta.clusterWide" -}}
{{- if or (not .Values.namespaces) .Values.clusterRead.enabled }}yes{{ end }}
{{- end }}

{{/*
The served namespaces that can take a Role, as a YAML list. One that is gone must not stop an upgrade. Where nothing
can be looked up (helm template, Argo CD, the first installation with --create-namespace, no rights): all of them.
*/}}
{{- define "manta.served" -}}
{{- $found := list }}
{{- $see := and .Values.clusterRead.enabled (lookup "v1" "Namespace" "" .Release.Namespace) }}
{{- range .Values.namespaces }}
{{- $there := dict "metadata" dict }}
{{- if $see }}
{{- $there = lookup "v1" "Namespace" "" . }}
{{- end }}
{{- if and $there (not $there.metadata.deletionTimestamp) }}
{{- $found = append $found . }}
{{- end }}
{{- end }}
{{- toYaml $found }}
{{- end }}

{{/*
Two operators for the same LLMDeployments would undo each other's work: fails if another release serves them, as far as
its bindings can be looked up. Every binding in a namespace of ours counts; of those of the cluster the ones that serve
it all, or any where we serve it all.
*/}}
{{- define "manta.alone" -}}
{{- $bindings := list }}
{{- if include "manta.clusterWide" . }}
{{- range (lookup "rbac.authorization.k8s.io/v1" "ClusterRoleBinding" "" "").items }}
{{- if or (not $.Values.namespaces) (not (hasSuffix "-read" .metadata.name)) }}
{{- $bindings = append $bindings . }}
{{- end }}
{{- end }}
{{- range $place := .Values.namespaces }}
{{- range (lookup "rbac.authorization.k8s.io/v1" "RoleBinding" $place "").items }}
{{- if not (hasSuffix "-lease" .metadata.name) }}
{{- $bindings = append $bindings . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range $bindings }}
{{- $labels := .metadata.labels | default dict }}
{{- $subject := first (.subjects | default list) | default dict }}
{{- $operator := and (eq (index $labels "app.kubernetes.io/part-of" | default "") "manta") (eq (index $labels "app.kubernetes.io/component" | default "") "operator") }}
{{- $ours := and (eq (index $labels "app.kubernetes.io/instance" | default "") $.Release.Name) (eq ($subject.namespace | default "") $.Release.Namespace) }}
{{- if and $operator (not $ours) }}
{{- fail (printf "another operator is installed, release %s in namespace %s (%s %s): two would work against each other; one serves all namespaces, or each serves its own (namespaces)" (index $labels "app.kubernetes.io/instance") $subject.namespace .kind .metadata.name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The release hook runs after everything else is gone, its own permissions included. */}}
{{- define "manta.hook" -}}
helm.sh/hook: post-delete
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

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

{{- define "manta.releaseName" -}}
{{- include "manta.fullname" . }}-release
{{- end }}

{{- define "manta.instanceLabels" -}}
app.kubernetes.io/name: {{ include "manta.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
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
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* PodSecurity "restricted", for the pod and for its containers. */}}
{{- define "manta.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "manta.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
{{- end }}

{{/* The release hook runs after everything else is gone, its own permissions included. */}}
{{- define "manta.hook" -}}
helm.sh/hook: post-delete
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

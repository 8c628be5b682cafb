{{/* The name that everything of a release begins with. */}}
{{- define "caio.name" -}}
{{- if contains "caio" .Release.Name -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{- else -}}{{ printf "%s-caio" .Release.Name | trunc 50 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{/* What selects a component's pods: (dict "root" . "component" "api"). It never changes: selectors cannot. */}}
{{- define "caio.selector" -}}
app.kubernetes.io/name: caio
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "caio.labels" -}}
{{ include "caio.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "caio.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default (printf "v%s" $.Chart.AppVersion) }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Most processes that ever run at once: each pod of both, and those that a rolling update starts besides. */}}
{{- define "caio.processes" -}}
{{- $api := .Values.api.replicas -}}
{{- if .Values.autoscaling.enabled -}}{{- $api = .Values.autoscaling.maxReplicas -}}{{- end -}}
{{ add $api .Values.worker.replicas 2 }}
{{- end -}}

{{/* The port of a URL: (dict "url" URL "otherwise" PORT). */}}
{{- define "caio.portOf" -}}
{{- (urlParse .url).host | regexFind ":[0-9]+$" | trimPrefix ":" | default .otherwise -}}
{{- end -}}

{{/* The ports that pods may reach, comma separated: those of the database, of both Redis and of traces as `config` names
     them, and the further ones. */}}
{{- define "caio.egressPorts" -}}
{{- $config := .Values.config -}}
{{- $redis := include "caio.portOf" (dict "url" $config.CAIO_REDIS_URL "otherwise" "6379") -}}
{{- $ports := list ($config.CAIO_DB_PORT | default "5432") $redis -}}
{{- with $config.CAIO_CACHE_REDIS_URL -}}
{{- $ports = append $ports (include "caio.portOf" (dict "url" . "otherwise" "6379")) -}}
{{- end -}}
{{- with $config.CAIO_OTLP_ENDPOINT -}}
{{- $otherwise := ternary "443" "80" (hasPrefix "https:" .) -}}
{{- $ports = append $ports (include "caio.portOf" (dict "url" . "otherwise" $otherwise)) -}}
{{- end -}}
{{- range .Values.networkPolicy.egressPorts -}}{{- $ports = append $ports (int . | toString) -}}{{- end -}}
{{- $ports | uniq | join "," -}}
{{- end -}}

{{/* Variables from a Secret whose keys are their names: (dict "secret" NAME "variables" LIST). */}}
{{- define "caio.secrets" -}}
{{- range .variables }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $.secret }}
      key: {{ . }}
{{- end }}
{{- end -}}

{{- define "caio.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "caio.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The two folders that may be written. Nothing in them outlives the pod: keys are Secrets, data is in PostgreSQL. */}}
{{- define "caio.mounts" -}}
- name: data
  mountPath: /var/lib/caio
- name: tmp
  mountPath: /tmp
{{- end -}}

{{- define "caio.volumes" -}}
- name: data
  emptyDir:
    sizeLimit: 256Mi
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- end -}}

{{- define "caio.placement" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

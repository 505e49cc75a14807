{# How a large table of a model is laid out, for `config()`: by the day of `moment`, and by `keys`, each where the
   engine has such a thing. #}
{% macro storage(moment=none, keys=[]) -%}
    {{ return(adapter.dispatch('storage', 'revetl')(moment, keys)) }}
{%- endmacro %}

{% macro default__storage(moment, keys) -%}
    {{ return({}) }}
{%- endmacro %}

{# As indexes: a small build reads few rows of a large table. #}
{% macro postgres__storage(moment, keys) -%}
    {% set indexes = [{'columns': keys}] if keys else [] -%}
    {% if moment -%}
        {% do indexes.append({'columns': [moment]}) -%}
    {% endif -%}
    {{ return({'indexes': indexes}) }}
{%- endmacro %}

{% macro snowflake__storage(moment, keys) -%}
    {{ return({'cluster_by': (['cast(' ~ moment ~ ' as date)'] if moment else []) + keys}) }}
{%- endmacro %}

{% macro bigquery__storage(moment, keys) -%}
    {% set layout = {'cluster_by': keys} if keys else {} -%}
    {% if moment -%}
        {% do layout.update({'partition_by': {'field': moment, 'data_type': 'timestamp', 'granularity': 'day'}}) -%}
    {% endif -%}
    {{ return(layout) }}
{%- endmacro %}

{# Joins find their rows on the node they run on, and times are read without the rest. #}
{% macro redshift__storage(moment, keys) -%}
    {% set layout = {'dist': keys[0]} if keys else {'dist': 'even'} -%}
    {% do layout.update({'sort': [moment] if moment else keys}) -%}
    {{ return(layout) }}
{%- endmacro %}

{% macro databricks__storage(moment, keys) -%}
    {{ return({'liquid_clustered_by': ([moment] if moment else []) + keys}) }}
{%- endmacro %}

{# The same for a source's table, as the end of its `create table`: what lands or happens is laid out by its time,
   and what syncs hold by the sync. #}
{% macro source_storage(table) -%}
    {% set columns = table.columns.keys() | list -%}
    {% set moments = ['timestamp', 'changed_at'] | select('in', columns) | list -%}
    {{ return(adapter.dispatch('source_storage', 'revetl')(
        moments[0] if moments else none, ['sync'] | select('in', columns) | list)) }}
{%- endmacro %}

{% macro default__source_storage(moment, keys) -%}
    {{ return('') }}
{%- endmacro %}

{% macro snowflake__source_storage(moment, keys) -%}
    {% set by = (['cast(' ~ revetl.quoted(moment) ~ ' as date)'] if moment else []) + keys -%}
    {{ return(' cluster by (' ~ by | join(', ') ~ ')' if by else '') }}
{%- endmacro %}

{% macro bigquery__source_storage(moment, keys) -%}
    {{ return(
        (' partition by timestamp_trunc(' ~ revetl.quoted(moment) ~ ', day)' if moment else '')
        ~ (' cluster by ' ~ keys | join(', ') if keys else '')) }}
{%- endmacro %}

{% macro redshift__source_storage(moment, keys) -%}
    {% set by = ([revetl.quoted(moment)] if moment else []) + keys -%}
    {{ return(' sortkey (' ~ by | join(', ') ~ ')' if by else '') }}
{%- endmacro %}

{% macro databricks__source_storage(moment, keys) -%}
    {% set by = ([revetl.quoted(moment)] if moment else []) + keys -%}
    {{ return(' cluster by (' ~ by | join(', ') ~ ')' if by else '') }}
{%- endmacro %}

{# The clock of this package's snapshots, which dbt's own reads in the zone of the session: what vanished is closed as of
   the build, in UTC. #}
{% macro snapshot_get_time() -%}
    {{ revetl.as_of() }}
{%- endmacro %}

{# What a snapshot of traits compares its open rows with: the traits as of this build; or the open rows themselves, where
   the history has periods that begin or end later (or just then): what was later is not known as of an earlier moment,
   and periods would end before they begin. #}
{% macro history_as_of(history, traits) -%}
    {% set there = load_cached_relation(history) if execute and flags.WHICH in ['build', 'snapshot'] else none -%}
    {% if there is not none -%}
        {% set varchar = revetl.type_of('varchar') -%}
        {% set newest = 'greatest(max(valid_from), coalesce(max(valid_to), max(valid_from)))' -%}
        {% set rows = run_query('select cast(' ~ newest ~ ' as ' ~ varchar ~ '), cast(' ~ revetl.as_of() ~ ' as ' ~ varchar
            ~ '), case when ' ~ newest ~ ' >= ' ~ revetl.as_of() ~ ' then 1 else 0 end from ' ~ there).rows -%}
        {% if rows[0][2] == 1 -%}
            {% do log('revetl_trait_history has periods up to ' ~ rows[0][0] ~ ' UTC, and this build is as of ' ~ rows[0][1]
                ~ ': the history stays as it is.', info=true) -%}
            {{ return('select canonical_id, trait, value, updated_at as seen_at from ' ~ there ~ ' where valid_to is null') }}
        {% endif -%}
    {% endif -%}
    select * from {{ traits }}
{%- endmacro %}

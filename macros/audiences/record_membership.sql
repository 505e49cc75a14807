{# At the end of a run: who entered the audiences that it built, and who left them. Only that is written, in one
   statement for all of them, to a table that only grows. #}
{% macro record_membership(results) %}
    {% set built = revetl.built_audiences(results) %}
    {% if not built or flags.EMPTY or not revetl.has_part('membership') %}
        {{ return('') }}
    {% endif %}
    {% set changes = revetl.state_table('audience_changes') %}
    {% set key, varchar = revetl.quoted('key'), revetl.type_of('varchar') %}
    {% set names = [] %}
    {% set members = [] %}
    {% for audience in built %}
        {% do names.append(revetl.text_literal(audience.name)) %}
        {% set member = 'cast(' ~ revetl.quoted(audience.key) ~ ' as ' ~ varchar ~ ')' %}
        {% do members.append('select cast(' ~ revetl.text_literal(audience.name) ~ ' as ' ~ varchar ~ ') as audience, '
            ~ member ~ ' as ' ~ key ~ ' from ' ~ audience.relation ~ ' where ' ~ revetl.quoted(audience.key)
            ~ ' is not null group by ' ~ member) %}
    {% endfor %}
    {% do revetl.run_together(['insert into ' ~ changes ~ ' (audience, ' ~ key
        ~ ', change, changed_at, recorded_at, invocation_id, target) '
        ~ 'select coalesce(members.audience, known.audience), coalesce(members.' ~ key ~ ', known.' ~ key ~ '), '
        ~ "case when members.audience is not null then 'entered' else 'left' end, "
        ~ revetl.as_of() ~ ', ' ~ revetl.utc_now() ~ ", '" ~ invocation_id ~ "', " ~ revetl.text_literal(target.name) ~ ' '
        ~ 'from (' ~ members | join(' union all ') ~ ') as members '
        ~ 'full outer join (select audience, ' ~ key ~ ' from (select audience, ' ~ key ~ ', change, row_number() over ('
        ~ 'partition by audience, ' ~ key ~ ' order by recorded_at desc) as place from ' ~ changes
        ~ ' where audience in (' ~ names | join(', ') ~ ') and ' ~ revetl.of_this_target() ~ ') as ordered '
        ~ "where place = 1 and change = 'entered') as known "
        ~ 'on members.audience = known.audience and members.' ~ key ~ ' = known.' ~ key
        ~ ' where members.audience is null or known.audience is null']) %}
{% endmacro %}

{# At the end of a run: fails it where a key of an audience that it built is null, repeated, or unknown (an
   identifier that no profile has, in an audience made of this package's models: of other tables, revetl knows nobody). #}
{% macro check_audience_keys(results) %}
    {% set severity = var('audience_keys', 'error') %}
    {% if severity not in ['error', 'warn', 'off'] %}
        {% do exceptions.raise_compiler_error("vars.revetl.audience_keys is '" ~ severity ~ "'; it must be error, warn or off.") %}
    {% endif %}
    {% set built = revetl.built_audiences(results) if severity != 'off' else [] %}
    {% if not built %}
        {{ return('') }}
    {% endif %}
    {% set counts = [] %}
    {% for audience in built %}
        {% do counts.append('select ' ~ revetl.text_literal(audience.name) ~ ' as audience, '
            ~ 'sum(case when member is null then 1 else 0 end) as without_key, '
            ~ 'count(member) - count(distinct member) as repeated, '
            ~ 'sum(case when member is not null and known is null then 1 else 0 end) as unknown '
            ~ 'from (' ~ revetl.known_members(audience) ~ ') as members') %}
    {% endfor %}
    {% set wrong = [] %}
    {% for row in run_query(counts | join(' union all ')).rows %}
        {% set parts = [] %}
        {% for count, words in [(row[1], 'without a key'), (row[2], 'whose key another row has'),
            (row[3], 'whose key no profile has')] if count %}
            {% do parts.append(revetl.in_thousands(count) ~ (' row ' if count == 1 else ' rows ') ~ words) %}
        {% endfor %}
        {% if parts %}
            {% do wrong.append(row[0] ~ ' has ' ~ parts | join(', ')) %}
        {% endif %}
    {% endfor %}
    {% if wrong %}
        {% set sentence = 'Keys of audiences: ' ~ wrong | join('; ') ~ '.' %}
        {% if severity == 'error' %}
            {% do exceptions.raise_compiler_error(sentence ~ ' Mend the model; vars.revetl.audience_keys: warn lets it pass.') %}
        {% endif %}
        {% do exceptions.warn(sentence) %}
    {% endif %}
{% endmacro %}

{# The rows of an audience: member (the key as text), and known, which is null where it is an identifier or canonical
   id that no profile has. #}
{% macro known_members(audience) %}
    {% set member = 'cast(' ~ revetl.quoted(audience.key) ~ ' as ' ~ revetl.type_of('varchar') ~ ')' %}
    {% set identities = revetl.relation_there('int_revetl__identity_graph') %}
    {% set rows = 'select ' ~ member ~ ' as member from ' ~ audience.relation %}
    {% if identities is none or audience.key not in ['canonical_id'] + var('identity')['identifiers'] | list
        or not revetl.is_made_of_ours(audience.unique_id) %}
        {{ return("select member, 'any' as known from (" ~ rows ~ ') as listed') }}
    {% endif %}
    {% set known = 'select distinct canonical_id as value from ' ~ identities if audience.key == 'canonical_id'
        else "select identifier_value as value from " ~ identities ~ " where identifier_type = '" ~ audience.key ~ "'" %}
    {{ return('select listed.member, known.value as known from (' ~ rows ~ ') as listed left join (' ~ known
        ~ ') as known on listed.member = known.value') }}
{% endmacro %}

{# Whether a model selects, through however many models, from one of this package's. #}
{% macro is_made_of_ours(unique_id) %}
    {% set walk = namespace(level=[unique_id], is_ours=false) %}
    {% set seen = {} %}
    {% for _ in graph.nodes %}
        {% set parents = [] %}
        {% for name in walk.level %}
            {% set node = graph.nodes.get(name) %}
            {% for parent in (node.depends_on.nodes if node else []) if parent not in seen %}
                {% do seen.update({parent: true}) %}
                {% do parents.append(parent) %}
                {% if parent.split('.')[1] == 'revetl' %}
                    {% set walk.is_ours = true %}
                {% endif %}
            {% endfor %}
        {% endfor %}
        {% set walk.level = [] if walk.is_ours else parents %}
    {% endfor %}
    {{ return(walk.is_ours) }}
{% endmacro %}

{# The audiences that a run has built: unique_id, name, key, relation, config (their meta.revetl). #}
{% macro built_audiences(results) %}
    {% set found = [] %}
    {% if execute and flags.WHICH in ['build', 'run'] and not var('identity_preview', false) %}
        {% for result in results if result.node.resource_type == 'model' and result.status == 'success'
            and revetl.is_latest(result.node) %}
            {% set declared = result.node.config.meta.get('revetl') %}
            {% if declared is mapping and declared.key is string and result.node.config.materialized != 'ephemeral' %}
                {% do found.append({'unique_id': result.node.unique_id, 'name': result.node.name, 'key': declared.key, 'config': declared, 'relation': api.Relation.create(
                    database=result.node.database, schema=result.node.schema, identifier=result.node.alias or result.node.name)}) %}
            {% endif %}
        {% endfor %}
    {% endif %}
    {{ return(found) }}
{% endmacro %}

{# Whether a model has no versions, or is the latest one: of a model with versions, that is the audience. #}
{% macro is_latest(node) %}
    {{ return(not node.version or node.version | string == node.latest_version | string) }}
{% endmacro %}

{# A whole number with commas: 12,345. (dbt v2 leaves '{:,}'.format(…) as it is.) #}
{% macro in_thousands(number) %}
    {% set rest = namespace(digits=number | int | string, shown='') %}
    {% for _ in range((rest.digits | length - 1) // 3) %}
        {% set rest.shown = ',' ~ rest.digits[-3:] ~ rest.shown %}
        {% set rest.digits = rest.digits[:-3] %}
    {% endfor %}
    {{ return(rest.digits ~ rest.shown) }}
{% endmacro %}
